package static

import (
	"context"
	"errors"
	"net"

	"connect-proxy/connectproxy/identity"
	"connect-proxy/listener"
	"connect-proxy/upstream"
)

// Plaintext stands in the place of an identity where destinations are dialled
// without TLS. It accepts nobody. It is safe for concurrent use.
type Plaintext struct {
	dialer *net.Dialer
	ready  chan struct{}
}

// NewPlaintext makes a Plaintext. It starts nothing.
func NewPlaintext() *Plaintext {
	p := &Plaintext{dialer: listener.NewDialer(), ready: make(chan struct{})}
	close(p.ready)
	return p
}

// Run waits for the end of ctx, and returns its error.
func (p *Plaintext) Run(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }

// Ready returns a closed channel: there is nothing to wait for.
func (p *Plaintext) Ready() <-chan struct{} { return p.ready }

// Problem returns "": nothing can be wrong.
func (p *Plaintext) Problem() string { return "" }

// Datacenter returns "": there is none without Consul.
func (p *Plaintext) Datacenter() string { return "" }

// Status returns the zero value.
func (p *Plaintext) Status() identity.Status { return identity.Status{} }

// Session returns the zero value: there is no TLS session.
func (p *Plaintext) Session(net.Conn) listener.SessionInfo { return listener.SessionInfo{} }

var (
	errPlaintextServer = errors.New("a public listener needs an identity, and plaintext is not one")
	errMustProve       = errors.New("the instance has to prove an identity, which is not possible in plaintext")
)

// Handshake returns a function that refuses every client.
func (p *Plaintext) Handshake(identity.ServerTLS) listener.HandshakeFunc {
	return func(context.Context, net.Conn) (listener.Session, error) {
		return listener.Session{}, errPlaintextServer
	}
}

// Dial opens a TCP connection to an instance. An endpoint of which an identity is
// expected is an error, and is not dialled.
func (p *Plaintext) Dial(ctx context.Context, ep upstream.Endpoint) (net.Conn, error) {
	if ep.Identity.Service != "" || ep.Identity.Patterns != "" {
		return nil, errMustProve
	}
	return p.dialer.DialContext(ctx, "tcp", ep.Address)
}
