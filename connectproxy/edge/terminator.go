package edge

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/hashicorp/go-hclog"
	"github.com/mholt/acmez/v3"

	"connect-proxy/config"
	"connect-proxy/listener"
)

// Options are what a Terminator is made with.
type Options struct {
	// Hosts are the names that it has certificates for. Either Cert, with Key unless
	// it holds that too, or ACME is required.
	Hosts     []string
	Cert, Key string
	ACME      config.ACME
	// Request is what a client over its secured connection asks for. Required.
	Request func(client net.Conn) listener.Request
	// Logger may be nil.
	Logger hclog.Logger
}

// certificateSource is where those of a Terminator come from.
type certificateSource interface {
	// get returns the certificate for a name in small letters that is one of the
	// hosts.
	get(host string, hello *tls.ClientHelloInfo) (*tls.Certificate, error)
	// run keeps them fresh until ctx is done.
	run(ctx context.Context) error
	// takeOver has what another holds be used for the hosts that are also its own. It
	// is called before run.
	takeOver(from certificateSource)
	// problems says, a sentence each, which hosts have no certificate that is valid,
	// and why.
	problems() []string
}

// Terminator secures connections. Its methods are safe for concurrent use.
type Terminator struct {
	o            Options
	hosts        map[string]bool
	certificates certificateSource
	tls          *tls.Config
}

// New makes a Terminator and starts nothing.
func New(o Options) *Terminator {
	if o.Logger == nil {
		o.Logger = hclog.NewNullLogger()
	}
	e := &Terminator{o: o, hosts: map[string]bool{}}
	for _, h := range o.Hosts {
		e.hosts[strings.ToLower(h)] = true
	}
	e.tls = &tls.Config{
		MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}, GetCertificate: e.certificate,
		WrapSession: e.wrapSession, UnwrapSession: e.unwrapSession,
	}
	if o.ACME.CacheDir != "" {
		e.certificates = newOrders(o)
		e.tls.NextProtos = append(e.tls.NextProtos, acmez.ACMETLS1Protocol)
	} else {
		e.certificates = &fromFiles{o: o}
	}
	return e
}

// Run keeps the certificates fresh until ctx is done and returns its error. It is
// called once.
func (e *Terminator) Run(ctx context.Context) error { return e.certificates.run(ctx) }

// TakeOver has certificates of another Terminator, which may be nil, be used until there
// are newer ones: they are there at once, whatever has become of CA and files. They have
// to be from the same CA and cache or files, and for the same hosts. It is called before Run.
func (e *Terminator) TakeOver(from *Terminator) {
	if from != nil {
		e.certificates.takeOver(from.certificates)
	}
}

// Problems says, a sentence each, for which hosts there is no certificate that is
// valid, and why.
func (e *Terminator) Problems() []string { return e.certificates.problems() }

// Request does the handshake with a client, as a listener.RequestFunc, and has it
// served.
func (e *Terminator) Request(ctx context.Context, raw net.Conn) (listener.Request, error) {
	var stranger error
	c := &conn{Conn: tls.Server(raw, e.tls), rest: restTime}
	if err := c.HandshakeContext(context.WithValue(ctx, strangerKey{}, &stranger)); err != nil {
		return listener.Request{}, cmp.Or(stranger, err)
	}
	if c.ConnectionState().NegotiatedProtocol == acmez.ACMETLS1Protocol {
		// The CA has seen what it wanted.
		return listener.Request{Conn: c, Serve: func(context.Context, net.Conn) {}}, nil
	}
	return e.o.Request(c), nil
}

// strangerKey is the key in the context of a handshake of where it is said that a
// client asks for a name that is not among the hosts.
type strangerKey struct{}

// certificate is the one for a client. None has the client told that the server is
// not known by its name (unrecognized_name).
func (e *Terminator) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	host := hostOf(hello.ServerName)
	if !e.hosts[host] {
		if why, ok := hello.Context().Value(strangerKey{}).(*error); ok {
			*why = fmt.Errorf("client asks for %.100q, which is none of the hosts", hello.ServerName)
		}
		return nil, nil //nolint:nilnil // crypto/tls has it so
	}
	return e.certificates.get(host, hello)
}

// hostOf is a name of a client in the form of those in hosts.
func hostOf(name string) string { return strings.TrimSuffix(strings.ToLower(name), ".") }

var errNoCertificate = errors.New("there is no certificate for this name yet")
