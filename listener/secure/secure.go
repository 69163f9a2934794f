package secure

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"time"
)

// Conn is one end of a TLS connection whose handshake is done. It is a
// net.Conn with crypto/tls's rules for concurrent use until Detach.
type Conn struct {
	*tls.Conn
	wire *wire
}

// prepared marks a configuration whose connections can be detached.
type prepared struct{ client bool }

// Write drops a line. It is never called: each connection has a copy of the
// configuration, with a key log of its own.
func (prepared) Write(p []byte) (int, error) { return len(p), nil }

// PrepareServer readies cfg for connections of Server that can be detached. It
// must be called before cfg is first used, and takes cfg's KeyLogWriter for
// itself: the secrets of its connections are kept in memory until their Detach
// and are written nowhere.
func PrepareServer(cfg *tls.Config) { cfg.KeyLogWriter = prepared{client: false} }

// PrepareClient is PrepareServer for connections of Client.
func PrepareClient(cfg *tls.Config) { cfg.KeyLogWriter = prepared{client: true} }

// Server answers the handshake of the client behind raw. ctx's deadline and
// cancellation end a handshake that is under way. On error raw is still the
// caller's to close.
func Server(ctx context.Context, raw net.Conn, cfg *tls.Config) (*Conn, error) {
	w, own := newWire(raw, cfg, false)
	return handshake(ctx, w, tls.Server(w, own))
}

// Client starts a handshake with the server behind raw; otherwise it is like
// Server. The last flight of the handshake is held back, if the connection can
// be detached, until its first use: Detach hands it over, Read, Write and Flush
// send it.
func Client(ctx context.Context, raw net.Conn, cfg *tls.Config) (*Conn, error) {
	w, own := newWire(raw, cfg, true)
	return handshake(ctx, w, tls.Client(w, own))
}

func handshake(ctx context.Context, w *wire, tc *tls.Conn) (*Conn, error) {
	// A deadline on the socket bounds the handshake without the goroutine that
	// HandshakeContext would start to watch ctx.
	deadline, bounded := ctx.Deadline()
	if bounded {
		_ = w.SetDeadline(deadline)
	}
	stop := context.AfterFunc(ctx, func() { _ = w.SetDeadline(time.Unix(1, 0)) })
	err := tc.Handshake()
	interrupted := !stop()
	if err != nil {
		_ = w.flush() // an alert that tells the server why
		w.release()
		if bounded && errors.Is(err, os.ErrDeadlineExceeded) {
			return nil, context.DeadlineExceeded
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, err
	}
	if interrupted {
		w.release()
		return nil, context.Cause(ctx)
	}
	if bounded {
		_ = w.SetDeadline(time.Time{})
	}
	w.finish()
	c := &Conn{Conn: tc, wire: w}
	if !c.Detachable() {
		return c, w.flush()
	}
	return c, nil
}

// Flush sends what a client's handshake has held back.
func (c *Conn) Flush() error { return c.wire.flush() }

// Read is crypto/tls's, but for a transport that ends without a close_notify:
// crypto/tls lets that pass for an end at a record's boundary, while to a relay
// it is a stream cut short, ErrTruncated.
func (c *Conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if err == io.EOF && c.wire.ended {
		err = ErrTruncated
	}
	return n, err
}

// Abort ends the connection at once, with a TCP reset where the transport has
// one and without a close_notify, so that the peer cannot take it for an
// orderly end.
func (c *Conn) Abort() error {
	if tcp, ok := c.wire.Conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	return c.wire.Close()
}
