package connectproxy

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"connect-proxy/config"
	"connect-proxy/listener/secure"
	"connect-proxy/upstream"
)

// maxInstances bounds the instances for which a generation holds a client
// configuration, some 2 kB each with the session in it.
const maxInstances = 1024

// keyExchanges are what our servers take. The hybrid with ML-KEM, which Go would
// prefer, is a choice: it costs a third of a handshake.
var keyExchanges = []tls.CurveID{tls.X25519, tls.CurveP256, tls.CurveP384}

// offeredExchanges are what our clients offer. crypto/tls goes by an order of
// its own, X25519 first, so that is left out here: P-256, which every TLS 1.3
// server must know (RFC 8446 9.1), is the faster one in Go.
var offeredExchanges = []tls.CurveID{tls.CurveP256, tls.CurveP384}

// hybridExchanges are what either side offers and takes in their place where
// the hybrid is chosen.
var hybridExchanges = append([]tls.CurveID{tls.X25519MLKEM768}, keyExchanges...)

// serverTLS are the settings of a public listener's TLS.
type serverTLS struct {
	// MinVersion is tls.VersionTLS12 or tls.VersionTLS13; zero means 1.2.
	MinVersion uint16
	// ALPN is offered to clients that ask for it; empty means none.
	ALPN []string
}

func (o serverTLS) key() serverKey {
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

// generation is one leaf certificate with one set of roots and the TLS
// configurations made of them. None of it changes, so that a handshake works
// on it without a copy or a lock; what replaces a leaf or a root is another
// generation, with other ticket keys and no sessions. It is safe for concurrent
// use.
type generation struct {
	number uint64
	leaf   *leaf
	roots  *roots
	window window // when the leaf can be shown
	now    func() time.Time
	tls    config.TLS
	// verify goes by the latest roots rather than by this generation's: a
	// handshake that began just before a root was withdrawn must not pass.
	verify verifyFunc

	clients *lru[clientKey, *client]

	mu      sync.Mutex // guards servers
	servers map[serverKey]*secure.Config
}

// client is how to reach one instance.
type client struct {
	config  *secure.Config
	session *session
}

// verifyFunc says who presented certs, the leaf first, for a use.
type verifyFunc func(certs []*x509.Certificate, usage x509.ExtKeyUsage) (*peer, error)

func newGeneration(number uint64, l *leaf, r *roots, o identityOptions, verify verifyFunc) *generation {
	return &generation{
		number: number, leaf: l, roots: r, window: windowOf(l, r, o.Now()), now: o.Now, tls: o.TLS, verify: verify,
		clients: newLRU[clientKey, *client](maxInstances),
		servers: make(map[serverKey]*secure.Config),
	}
}

// server returns the one server configuration for o.
func (g *generation) server(o serverTLS) *secure.Config {
	g.mu.Lock()
	defer g.mu.Unlock()
	k := o.key()
	cfg, ok := g.servers[k]
	if !ok {
		cfg = g.newServer(k.minVersion, o.ALPN)
		g.servers[k] = cfg
	}
	return cfg
}

func (g *generation) newServer(minVersion uint16, alpn []string) *secure.Config {
	cfg := g.base(minVersion)
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
	markTickets(cfg)
	return g.secured(cfg)
}

// client returns the one client configuration for an instance.
func (g *generation) client(ep upstream.Endpoint) *client {
	want := expectedID(ep.Identity, "")
	if want.datacenter == "" {
		want.datacenter = g.leaf.id.datacenter
	}
	k := clientKey{address: ep.Address, sni: ep.SNI, id: want}
	return g.clients.getOrAdd(k, func() *client { return g.newClient(k) })
}

func (g *generation) newClient(k clientKey) *client {
	want := k.id.within(g.roots.trustDomain)
	s := &session{}
	cfg := g.base(tls.VersionTLS12)
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
	if !g.hybrid() {
		cfg.CurvePreferences = offeredExchanges
	}
	cfg.ClientSessionCache = s
	cfg.VerifyConnection = func(cs tls.ConnectionState) error {
		p, err := g.verify(cs.PeerCertificates, serverAuth)
		switch {
		case isClock(err):
			return fmt.Errorf("%w: %w", upstream.ErrClock, err)
		case err != nil:
			return fmt.Errorf("%w: %w", upstream.ErrIdentity, err)
		}
		if p.id.within("") != k.id {
			return fmt.Errorf("%w: want %s, got %s", upstream.ErrIdentity, want, p.uri)
		}
		return nil
	}
	return &client{config: g.secured(cfg), session: s}
}

func (g *generation) hybrid() bool { return g.tls.KeyExchange == config.HybridKeyExchange }

// secured adds who protects the records.
func (g *generation) secured(cfg *tls.Config) *secure.Config {
	return &secure.Config{TLS: cfg, OwnRecords: g.tls.Records != config.CryptoTLSRecords}
}

func (g *generation) base(minVersion uint16) *tls.Config {
	exchanges := keyExchanges
	if g.hybrid() {
		exchanges = hybridExchanges
	}
	return &tls.Config{
		MinVersion:       minVersion,
		CurvePreferences: exchanges,
		Time:             g.now,
		// Small first records serve a browser that renders as it reads. Here
		// they would only cost the start of each transfer.
		DynamicRecordSizingDisabled: true,
	}
}

// servers hands a listener its configuration, from the generation in force.
type servers struct {
	o    serverTLS
	last atomic.Pointer[serverOf]
}

type serverOf struct {
	generation *generation
	config     *secure.Config
}

func (s *servers) config(g *generation) *secure.Config {
	last := s.last.Load()
	if last == nil || last.generation != g {
		last = &serverOf{g, g.server(s.o)}
		s.last.Store(last)
	}
	return last.config
}
