package identity

import (
	"context"
	"crypto/tls"
	"net"
	"testing"
	"time"

	"connect-proxy/connectproxy/agenttest/fakeagent"
	"connect-proxy/listener"
	"connect-proxy/listener/secure"
	"connect-proxy/upstream"
)

// pair is a client and a server of this program with a loopback socket each.
type pair struct {
	web, api *Identity
	ln       net.Listener
	ep       upstream.Endpoint
	shaken   chan error
}

func newPair(b *testing.B) *pair {
	b.Helper()
	agent := fakeagent.New(b, fakeagent.Options{})
	p := &pair{
		web:    ready(b, running(b, Options{Client: agent.Client(""), Service: "web"})),
		api:    ready(b, running(b, Options{Client: agent.Client(""), Service: "api"})),
		shaken: make(chan error, 1),
	}
	var err error
	if p.ln, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		b.Fatal(err)
	}
	p.ep = upstream.Endpoint{Address: p.ln.Addr().String(), Identity: upstream.Identity{Service: "web", Datacenter: "dc1"}}
	done := make(chan struct{})
	go func() { defer close(done); p.serve(p.web.Handshake(ServerTLS{})) }()
	b.Cleanup(func() { p.ln.Close(); <-done })
	return p
}

func (p *pair) serve(h listener.HandshakeFunc) {
	for {
		raw, err := p.ln.Accept()
		if err != nil {
			return
		}
		s, err := h(context.Background(), raw)
		if err == nil {
			_, err = s.Conn.Write([]byte{1})
			s.Conn.(*secure.Conn).Abort()
		}
		p.shaken <- err
	}
}

// visit makes one connection and takes its ticket.
func (p *pair) visit(b *testing.B) *secure.Conn {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	c, err := p.api.Dial(ctx, p.ep)
	if err != nil {
		b.Fatal(err)
	}
	var one [1]byte
	if _, err := c.Read(one[:]); err != nil {
		b.Fatal(err)
	}
	if err := <-p.shaken; err != nil {
		b.Fatal(err)
	}
	c.(*secure.Conn).Abort()
	return c.(*secure.Conn)
}

// BenchmarkHandshakeFull is both sides of a connection with a full handshake:
// TCP, TLS, verification and one byte.
func BenchmarkHandshakeFull(b *testing.B) {
	for name, curves := range map[string][]tls.CurveID{
		"X25519": {tls.X25519}, "X25519MLKEM768": {tls.X25519MLKEM768},
	} {
		b.Run(name, func(b *testing.B) {
			p := newPair(b)
			c := p.api.current.Load().client(p.ep)
			c.Config.TLS.CurvePreferences = curves
			p.web.current.Load().server(ServerTLS{}).TLS.CurvePreferences = curves
			b.ReportAllocs()
			for b.Loop() {
				c.Session.Forget()
				if p.visit(b).ConnectionState().DidResume {
					b.Fatal("resumed")
				}
			}
		})
	}
}

// BenchmarkHandshakeResumed is the same with a session resumed.
func BenchmarkHandshakeResumed(b *testing.B) {
	for name, curves := range map[string][]tls.CurveID{
		"X25519": {tls.X25519}, "X25519MLKEM768": {tls.X25519MLKEM768},
	} {
		b.Run(name, func(b *testing.B) {
			p := newPair(b)
			p.api.current.Load().client(p.ep).Config.TLS.CurvePreferences = curves
			p.web.current.Load().server(ServerTLS{}).TLS.CurvePreferences = curves
			p.visit(b)
			b.ReportAllocs()
			for b.Loop() {
				if !p.visit(b).ConnectionState().DidResume {
					b.Fatal("not resumed")
				}
			}
		})
	}
}

// BenchmarkVerifyCached is a certificate verified before.
func BenchmarkVerifyCached(b *testing.B) {
	p := newPair(b)
	conn := p.visit(b)
	certs := conn.ConnectionState().PeerCertificates
	b.ReportAllocs()
	for b.Loop() {
		if _, err := p.api.verify(certs, serverAuth); err != nil {
			b.Fatal(err)
		}
	}
}
