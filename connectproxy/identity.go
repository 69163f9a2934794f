package connectproxy

import (
	"context"
	"net"
	"strconv"
	"time"

	"connect-proxy/config"
	"connect-proxy/connectproxy/identity"
	"connect-proxy/connectproxy/metrics"
	"connect-proxy/connectproxy/static"
	"connect-proxy/listener"
	"connect-proxy/upstream"
)

// Identity is who the proxy is to its peers, and how it knows theirs. Package
// identity has Consul's. It must be safe for concurrent use.
type Identity interface {
	// Run keeps the identity fresh until ctx is done, and returns ctx's error. It
	// is called once.
	Run(ctx context.Context) error
	// Ready returns a channel that is closed once the identity can be proved for
	// the first time.
	Ready() <-chan struct{}
	// Problem returns, in one line, why it cannot be proved at this moment; empty
	// if it can.
	Problem() string
	// Handshake returns what answers the clients of a public listener; the rules for
	// its connections are listener.HandshakeFunc's and listener.Session's.
	Handshake(o identity.ServerTLS) listener.HandshakeFunc
	// Dial opens a connection to an instance, which must prove the identity of
	// its endpoint; upstream.DialFunc has the rules.
	Dial(ctx context.Context, ep upstream.Endpoint) (net.Conn, error)
	// Session describes the TLS session of a connection that Dial has opened.
	Session(c net.Conn) listener.SessionInfo
	// Datacenter returns the local agent's; empty where this identity does not
	// know it.
	Datacenter() string
	// Status returns a snapshot.
	Status() identity.Status
}

// IdentitySource says where an identity comes from.
type IdentitySource string

const (
	// FromConsul is the identity that Consul gives to a service.
	FromConsul IdentitySource = ""
	// FromFiles is one of certificates in files.
	FromFiles IdentitySource = "files"
	// Plaintext is none: connections are not secured.
	Plaintext IdentitySource = "plaintext"
)

// IdentityOptions say who the proxy is to be. Another value is another identity.
// They are comparable.
type IdentityOptions struct {
	// Source says which of the others count.
	Source IdentitySource
	// Service is the name of the service that is represented. Namespace and
	// Partition are empty for "default".
	Service, Namespace, Partition string
	// Managed says that the agent launched the proxy of the service (Consul 1.2 to 1.5).
	Managed bool
	// Name is the configuration's for an identity from Files, and empty for others.
	Name string
	// Files are where the certificates are; the zero value unless Source is FromFiles.
	Files config.CertificateFiles
	// TLS says how connections are secured.
	TLS config.TLS
}

// who names the identity for people.
func (o IdentityOptions) who() string {
	if o.Source == FromConsul {
		return "of service " + o.Service
	}
	return strconv.Quote(o.Name)
}

// newIdentity makes the built-in identities.
func (p *Proxy) newIdentity(o IdentityOptions) Identity {
	switch o.Source {
	case FromFiles:
		return static.New(static.Options{Files: o.Files, TLS: o.TLS, Logger: p.logger.With("identity", o.Name)})
	case Plaintext:
		return static.NewPlaintext()
	}
	var outages func() uint64
	if p.o.Agent != nil {
		outages = func() uint64 { return p.o.Agent().Outages }
	}
	return identity.New(identity.Options{
		Client:    p.o.Client,
		Service:   o.Service,
		Namespace: o.Namespace,
		Partition: o.Partition,
		Managed:   o.Managed,
		Outages:   outages,
		TLS:       o.TLS,
		Logger:    p.logger,
		Handshook: func(took time.Duration, s listener.SessionInfo, err error) {
			p.metrics.Dialled(metrics.Opened{TLSVersion: s.TLSVersion, Resumed: s.Resumed, Handshake: took}, err)
		},
	})
}
