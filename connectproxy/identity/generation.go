package identity

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"connect-proxy/config"
	"connect-proxy/connectproxy/mtls"
	"connect-proxy/listener/secure"
	"connect-proxy/upstream"
)

const (
	// maxInstances bounds the memory that a generation takes for instances: it holds a
	// client configuration with a session for each.
	maxInstances = 1024
	// maxServers bounds the settings for which it holds a server configuration: a
	// listener has one, and another each time that its settings change.
	maxServers = 16
)

// ServerTLS are the settings of a public listener's TLS.
type ServerTLS struct {
	// MinVersion is tls.VersionTLS12 or tls.VersionTLS13; zero means 1.2.
	MinVersion uint16
	// ALPN is offered to clients that ask for it; empty means none.
	ALPN []string
}

func (o ServerTLS) key() serverKey {
	return serverKey{max(o.MinVersion, tls.VersionTLS12), strings.Join(o.ALPN, "\x00")}
}

type serverKey struct {
	minVersion uint16
	alpn       string
}

// clientKey is what a client configuration depends on within a generation:
// sessions are kept for each instance, not for each service, since a ticket of
// one instance means nothing to another.
type clientKey struct {
	address, sni string
	id           serviceID // without a trust domain
}

// generation is one leaf certificate with one set of roots, the mesh's bounds
// and the TLS configurations made of them. None of it changes, so that a handshake works
// on it without a copy or a lock; what replaces a leaf or a root is another
// generation, with other ticket keys and no sessions. It is safe for concurrent
// use.
type generation struct {
	number uint64
	leaf   *leafCert
	roots  *rootSet
	mesh   meshTLS
	window window // when the leaf can be shown
	now    func() time.Time
	tls    config.TLS
	// verify goes by the latest roots rather than by this generation's: a
	// handshake that began just before a root was withdrawn must not pass.
	verify verifyFunc

	clients *mtls.LRU[clientKey, *mtls.ClientTLS]
	servers *mtls.LRU[serverKey, *secure.Config]
}

// verifyFunc returns who presented certs, the leaf first, for a use.
type verifyFunc func(certs []*x509.Certificate, usage x509.ExtKeyUsage) (*peer, error)

func newGeneration(number uint64, l *leafCert, r *rootSet, m meshTLS, o Options, verify verifyFunc) *generation {
	return &generation{
		number: number, leaf: l, roots: r, mesh: m, window: windowOf(l, r, o.Now()), now: o.Now, tls: o.TLS, verify: verify,
		clients: mtls.NewLRU[clientKey, *mtls.ClientTLS](maxInstances),
		servers: mtls.NewLRU[serverKey, *secure.Config](maxServers),
	}
}

// server returns the one server configuration for o.
func (g *generation) server(o ServerTLS) *secure.Config {
	k := o.key()
	return g.servers.GetOrAdd(k, func() *secure.Config { return g.newServer(k.minVersion, o.ALPN) })
}

func (g *generation) newServer(minVersion uint16, alpn []string) *secure.Config {
	cfg := mtls.ServerConfig(g.tls, minVersion, g.now)
	g.mesh.incoming.apply(cfg)
	cfg.NextProtos = alpn
	cfg.Certificates = []tls.Certificate{g.leaf.cert}
	// Not RequireAndVerifyClientCert: crypto/tls would verify the chain in each
	// full handshake, put it into the ticket, and verify it once more in each
	// resumed one. VerifyConnection runs in both, and remembers.
	cfg.ClientAuth = tls.RequireAnyClientCert
	cfg.VerifyConnection = func(cs tls.ConnectionState) error {
		_, err := g.verify(cs.PeerCertificates, clientAuth)
		return err
	}
	mtls.MarkTickets(cfg)
	return mtls.WithRecords(cfg, g.tls)
}

// client returns the one client configuration for an instance.
func (g *generation) client(ep upstream.Endpoint) *mtls.ClientTLS {
	want := expectedID(ep.Identity, "")
	if want.datacenter == "" {
		want.datacenter = g.leaf.id.datacenter
	}
	k := clientKey{address: ep.Address, sni: ep.SNI, id: want}
	return g.clients.GetOrAdd(k, func() *mtls.ClientTLS { return g.newClient(k) })
}

func (g *generation) newClient(k clientKey) *mtls.ClientTLS {
	want := k.id.within(g.roots.trustDomain)
	s := &mtls.ClientSession{}
	cfg := mtls.ClientConfig(g.tls, g.now)
	g.mesh.outgoing.apply(cfg)
	cfg.ServerName = k.sni
	if cfg.ServerName == "" {
		cfg.ServerName = want.sni()
	}
	// What crypto/tls would verify is a host name; VerifyConnection verifies
	// the chain and the identity.
	cfg.InsecureSkipVerify = true
	// Not Certificates: those are held back from a server that names the
	// authorities it knows, and during a rotation it may not name ours yet
	// though it could verify the chain.
	cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		return &g.leaf.cert, nil
	}
	cfg.ClientSessionCache = s
	cfg.VerifyConnection = func(cs tls.ConnectionState) error {
		p, err := g.verify(cs.PeerCertificates, serverAuth)
		switch {
		case isClockError(err):
			return fmt.Errorf("%w: %w", upstream.ErrClock, err)
		case err != nil:
			return fmt.Errorf("%w: %w", upstream.ErrIdentity, err)
		}
		if p.id.within("") != k.id {
			return fmt.Errorf("%w: want %s, got %s", upstream.ErrIdentity, want, p.uri)
		}
		return nil
	}
	return &mtls.ClientTLS{Config: mtls.WithRecords(cfg, g.tls), Session: s}
}

// serverConfigs hands a listener its configuration, from the generation in force.
type serverConfigs struct {
	o    ServerTLS
	last atomic.Pointer[latestConfig]
}

type latestConfig struct {
	generation *generation
	config     *secure.Config
}

func (s *serverConfigs) config(g *generation) *secure.Config {
	last := s.last.Load()
	if last == nil || last.generation != g {
		last = &latestConfig{g, g.server(s.o)}
		s.last.Store(last)
	}
	return last.config
}
