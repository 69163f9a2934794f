package static

import (
	"context"
	"crypto/x509"
	"encoding/hex"
	"net"
	"strings"

	"connect-proxy/connectproxy/allowlist"
	"connect-proxy/connectproxy/identity"
	"connect-proxy/connectproxy/mtls"
	"connect-proxy/listener"
	"connect-proxy/listener/secure"
	"connect-proxy/upstream"
)

// Handshake returns a function that shakes hands with clients by the settings o
// and verifies them. Who may call is the Authorizer's to say.
func (i *Identity) Handshake(o identity.ServerTLS) listener.HandshakeFunc {
	return func(ctx context.Context, raw net.Conn) (listener.Session, error) {
		g, err := i.usable()
		if err != nil {
			return listener.Session{}, err
		}
		conn, err := g.server(o).Server(ctx, raw)
		if err != nil {
			return listener.Session{}, err
		}
		return i.session(conn)
	}
}

// session returns who a finished handshake was with. The peer is verified once
// more: the CAs may have changed in between.
func (i *Identity) session(conn *secure.Conn) (listener.Session, error) {
	cs := conn.ConnectionState()
	if err := i.verify(cs.PeerCertificates, x509.ExtKeyUsageClientAuth); err != nil {
		return listener.Session{}, err
	}
	leaf := cs.PeerCertificates[0]
	names, err := allowlist.TextOf(leaf)
	if err != nil {
		return listener.Session{}, err
	}
	return listener.Session{Conn: conn, SessionInfo: mtls.SessionInfo(cs, names, serial(leaf))}, nil
}

// verify judges a peer's certificates by the latest CAs.
func (i *Identity) verify(certs []*x509.Certificate, usage x509.ExtKeyUsage) error {
	return i.current.Load().verifier.verify(certs, usage)
}

// Dial opens a TLS connection to an instance, which must prove to be whom the
// endpoint's Patterns or Host say; one of which nothing is expected is an error.
// Errors are marked as upstream.DialFunc has it.
func (i *Identity) Dial(ctx context.Context, ep upstream.Endpoint) (net.Conn, error) {
	g, err := i.usable()
	if err != nil {
		return nil, err
	}
	raw, err := i.dialer.DialContext(ctx, "tcp", ep.Address)
	if err != nil {
		return nil, err
	}
	conn, err := g.client(ep).Handshake(ctx, raw)
	if err != nil {
		raw.Close()
		return nil, err
	}
	return conn, nil
}

// Session describes the TLS session of a connection that Dial has opened.
func (i *Identity) Session(c net.Conn) listener.SessionInfo {
	sc, ok := c.(*secure.Conn)
	if !ok {
		return listener.SessionInfo{}
	}
	cs := sc.ConnectionState()
	if len(cs.PeerCertificates) == 0 {
		return listener.SessionInfo{}
	}
	return mtls.SessionInfo(cs, describe(cs.PeerCertificates[0]), "")
}

// describe names a certificate for people.
func describe(c *x509.Certificate) string {
	names, err := allowlist.TextOf(c)
	if err != nil {
		return c.Subject.String()
	}
	return names
}

// serial is a certificate's serial number as Consul's agents write it.
func serial(c *x509.Certificate) string {
	digits := hex.EncodeToString(c.SerialNumber.Bytes())
	var pairs []string
	for i := 0; i < len(digits); i += 2 {
		pairs = append(pairs, digits[i:i+2])
	}
	return strings.Join(pairs, ":")
}
