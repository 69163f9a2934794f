package secure

import (
	"context"
	"crypto/tls"
	"net"
)

// Conn is one end of a TLS connection whose handshake is done.
type Conn struct {
	*tls.Conn
	raw net.Conn
}

// Server answers the handshake of the client behind raw. On error raw is still
// the caller's to close.
func Server(ctx context.Context, raw net.Conn, cfg *tls.Config) (*Conn, error) {
	return handshake(ctx, raw, tls.Server(raw, cfg))
}

// Client starts a handshake with the server behind raw. On error raw is still
// the caller's to close.
func Client(ctx context.Context, raw net.Conn, cfg *tls.Config) (*Conn, error) {
	return handshake(ctx, raw, tls.Client(raw, cfg))
}

func handshake(ctx context.Context, raw net.Conn, tc *tls.Conn) (*Conn, error) {
	if err := tc.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	return &Conn{Conn: tc, raw: raw}, nil
}

// Abort ends the connection at once, with a TCP reset where the transport has
// one and without a close_notify, so that the peer cannot take it for an
// orderly end.
func (c *Conn) Abort() error {
	if tcp, ok := c.raw.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	return c.raw.Close()
}
