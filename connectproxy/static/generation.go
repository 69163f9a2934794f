package static

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"strings"
	"time"

	"connect-proxy/config"
	"connect-proxy/connectproxy/certfiles"
	"connect-proxy/connectproxy/identity"
	"connect-proxy/connectproxy/mtls"
	"connect-proxy/listener/secure"
	"connect-proxy/upstream"
)

const (
	// maxInstances bounds the instances for which a generation holds a client
	// configuration, some 2 kB each with the session in it.
	maxInstances = 1024
	// maxServers bounds the settings for which it holds a server configuration: a
	// listener has one, and another each time that its settings change.
	maxServers = 16
)

// generation is what the files held at one time, and the TLS configurations made
// of it. None of it changes; what replaces it has other ticket keys and no
// sessions. It is safe for concurrent use.
type generation struct {
	number   uint64
	files    *certfiles.Identity
	verifier *verifier
	tls      config.TLS
	// verify goes by the latest CAs rather than by this generation's: a handshake
	// that began just before a CA was withdrawn must not pass.
	verify func(certs []*x509.Certificate, usage x509.ExtKeyUsage) error

	clients *mtls.LRU[clientKey, *mtls.ClientTLS]
	servers *mtls.LRU[serverKey, *secure.Config]
}

// serverKey is what a server configuration depends on within a generation.
type serverKey struct {
	minVersion uint16
	alpn       string
}

// clientKey is the same for a client configuration: sessions are kept for each
// instance and for whom it has to be.
type clientKey struct{ address, host, patterns string }

func newGeneration(number uint64, files *certfiles.Identity, i *Identity) *generation {
	return &generation{
		number: number, files: files, verifier: newVerifier(files.Roots, files.CAs, time.Now), tls: i.o.TLS, verify: i.verify,
		clients: mtls.NewLRU[clientKey, *mtls.ClientTLS](maxInstances),
		servers: mtls.NewLRU[serverKey, *secure.Config](maxServers),
	}
}

// server returns the one server configuration for o.
func (g *generation) server(o identity.ServerTLS) *secure.Config {
	k := serverKey{max(o.MinVersion, tls.VersionTLS12), strings.Join(o.ALPN, "\x00")}
	return g.servers.GetOrAdd(k, func() *secure.Config { return g.newServer(k.minVersion, o.ALPN) })
}

func (g *generation) newServer(minVersion uint16, alpn []string) *secure.Config {
	cfg := mtls.ServerConfig(g.tls, minVersion, time.Now)
	cfg.NextProtos = alpn
	cfg.Certificates = []tls.Certificate{g.files.Certificate}
	// Not RequireAndVerifyClientCert: crypto/tls would verify the chain by the CAs
	// of this generation. VerifyConnection goes by the latest, and runs in resumed
	// handshakes as in full ones.
	cfg.ClientAuth = tls.RequireAnyClientCert
	cfg.VerifyConnection = func(cs tls.ConnectionState) error {
		return g.verify(cs.PeerCertificates, x509.ExtKeyUsageClientAuth)
	}
	mtls.MarkTickets(cfg)
	return mtls.WithRecords(cfg, g.tls)
}

// client returns the one client configuration for an instance.
func (g *generation) client(ep upstream.Endpoint) *mtls.ClientTLS {
	k := clientKey{address: ep.Address, host: ep.Identity.Host, patterns: ep.Identity.Patterns}
	return g.clients.GetOrAdd(k, func() *mtls.ClientTLS { return g.newClient(k) })
}

func (g *generation) newClient(k clientKey) *mtls.ClientTLS {
	want := expectationOf(k.host, k.patterns)
	s := &mtls.ClientSession{}
	cfg := mtls.ClientConfig(g.tls, time.Now)
	cfg.ServerName = want.serverName()
	// What crypto/tls would verify is ServerName, in full handshakes alone;
	// VerifyConnection verifies the chain and whom the instance has to be, in
	// every one.
	cfg.InsecureSkipVerify = true
	// Not Certificates: those are held back from a server that names CAs of which
	// ours is none, though it may be one by the time.
	cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		return &g.files.Certificate, nil
	}
	cfg.ClientSessionCache = s
	cfg.VerifyConnection = func(cs tls.ConnectionState) error {
		err := g.verify(cs.PeerCertificates, x509.ExtKeyUsageServerAuth)
		switch {
		case isExpired(err):
			return fmt.Errorf("%w: %w", upstream.ErrClock, err)
		case err == nil:
			err = want.check(cs.PeerCertificates[0])
		}
		if err != nil {
			return fmt.Errorf("%w: %w", upstream.ErrIdentity, err)
		}
		return nil
	}
	return &mtls.ClientTLS{Config: mtls.WithRecords(cfg, g.tls), Session: s}
}
