package secure

import (
	"context"
	"crypto/fips140"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"time"
)

// Config is how connections are secured. It is safe for concurrent use and must
// not be changed once it is in use.
type Config struct {
	// TLS is the configuration of handshakes. Its KeyLogWriter is not used.
	TLS *tls.Config
	// OwnRecords makes TLS 1.3 connections fit for Detach. The zero value
	// leaves records to crypto/tls.
	OwnRecords bool
}

// Conn is one end of a TLS connection whose handshake is done. It is a
// net.Conn with crypto/tls's rules for concurrent use until Detach.
type Conn struct {
	*tls.Conn
	transport *transport
	secrets   secrets
	// tickets is how many records with session tickets a server has written.
	tickets int
	// records carry on where crypto/tls ends; nil if they cannot, also because
	// crypto/tls has gone on: a sequence number must not be used twice.
	records atomic.Pointer[Records]
}

// Server answers the handshake of the client behind raw. ctx's deadline and
// cancellation end a handshake that is under way. On error raw is still the
// caller's to close.
func (c *Config) Server(ctx context.Context, raw net.Conn) (*Conn, error) {
	conn, cfg := c.newConn(raw, false)
	conn.Conn = tls.Server(conn.transport, cfg)
	if err := conn.handshake(ctx); err != nil {
		return nil, err
	}
	return conn, nil
}

// Client starts a handshake with the server behind raw; otherwise it is like
// Server. The last flight of the handshake is held back, if the connection can
// be detached, until its first use: Detach hands it over, Read, Write and Flush
// send it.
func (c *Config) Client(ctx context.Context, raw net.Conn) (*Conn, error) {
	conn, cfg := c.newConn(raw, true)
	conn.Conn = tls.Client(conn.transport, cfg)
	if err := conn.handshake(ctx); err != nil {
		return nil, err
	}
	return conn, nil
}

// newConn returns a connection before its handshake and the configuration for
// it: a copy of the shared one, whose key log is this connection's alone. What
// a copy must share with all others, the keys of session tickets, stays with
// the shared configuration.
func (c *Config) newConn(raw net.Conn, client bool) (*Conn, *tls.Config) {
	conn := &Conn{transport: &transport{Conn: raw, client: client}}
	shared := c.TLS
	if !c.OwnRecords || fips140.Enabled() {
		return conn, shared
	}
	conn.transport.keep = true
	own := shared.Clone() //nolint:forbidigo // the one place: secrets are bound to their connection by it
	own.KeyLogWriter = &conn.secrets
	if !client {
		wrap, unwrap := shared.WrapSession, shared.UnwrapSession
		if wrap == nil {
			wrap = shared.EncryptTicket
		}
		if unwrap == nil {
			unwrap = shared.DecryptTicket
		}
		own.WrapSession = func(cs tls.ConnectionState, ss *tls.SessionState) ([]byte, error) {
			ticket, err := wrap(cs, ss)
			conn.tickets += ticketRecords(len(ticket))
			return ticket, err
		}
		own.UnwrapSession = unwrap
	}
	return conn, own
}

func (c *Conn) handshake(ctx context.Context) error {
	t := c.transport
	// A deadline on the socket bounds the handshake without the goroutine that
	// HandshakeContext would start to watch ctx.
	deadline, bounded := ctx.Deadline()
	if bounded {
		_ = t.SetDeadline(deadline)
	}
	stop := context.AfterFunc(ctx, func() { _ = t.SetDeadline(time.Unix(1, 0)) })
	err := c.Conn.Handshake()
	interrupted := !stop()
	defer c.secrets.forget()
	if err != nil {
		_ = t.flush() // an alert that tells the server why
	}
	if err != nil || interrupted {
		t.release()
		return handshakeError(ctx, err, bounded)
	}
	if bounded {
		_ = t.SetDeadline(time.Time{})
	}
	r := c.newRecords()
	c.records.Store(r)
	t.establish()
	if r == nil {
		return t.flush()
	}
	return nil
}

// handshakeError is why a handshake under ctx ended with err, which is nil if it
// was done but ctx was too.
func handshakeError(ctx context.Context, err error, bounded bool) error {
	if bounded && errors.Is(err, os.ErrDeadlineExceeded) {
		return context.DeadlineExceeded
	}
	if ctx.Err() != nil || err == nil {
		return context.Cause(ctx)
	}
	return err
}

// Flush sends what a client's handshake has held back.
func (c *Conn) Flush() error { return c.transport.flush() }

// Read is crypto/tls's, but for a transport that ends without a close_notify:
// crypto/tls lets that pass for an end at a record's boundary, while to a relay
// it is a stream cut short, ErrTruncated.
func (c *Conn) Read(p []byte) (int, error) {
	c.records.Store(nil)
	n, err := c.Conn.Read(p)
	if err == io.EOF && c.transport.ended {
		err = ErrTruncated
	}
	return n, err
}

// Write is crypto/tls's.
func (c *Conn) Write(p []byte) (int, error) {
	c.records.Store(nil)
	return c.Conn.Write(p)
}

// CloseWrite is crypto/tls's. Whatever the peer sends afterwards can be read.
func (c *Conn) CloseWrite() error {
	c.records.Store(nil)
	err := c.Conn.CloseWrite()
	c.transport.writeEnded.Store(true)
	return err
}

// Abort ends the connection at once, with a TCP reset where the transport has
// one and without a close_notify, so that the peer cannot take it for an
// orderly end.
func (c *Conn) Abort() error {
	if tcp, ok := c.transport.Conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	return c.transport.Close()
}
