package requestbody

import (
	"errors"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
)

// Conn is a connection of an http.Transport to a service. When it ends, nobody reads
// on from the body that is sent on it: the transport would tell of the end only after
// the client has sent something.
type Conn struct {
	net.Conn
	carries atomic.Pointer[Body]
	closed  atomic.Bool
}

// NewConn makes a Conn of c.
func NewConn(c net.Conn) *Conn { return &Conn{Conn: c} }

// Close is net.Conn's.
func (c *Conn) Close() error {
	c.closed.Store(true)
	if b := c.carries.Load(); b != nil {
		b.lose()
	}
	return c.Conn.Close()
}

// CloseWrite ends the sending direction, for protocols that were switched to.
func (c *Conn) CloseWrite() error {
	if w, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return w.CloseWrite()
	}
	return nil
}

// SentOn returns a request like r, whose body follows the Conn of an http.Transport
// that it is sent on.
func (b *Body) SentOn(r *http.Request) *http.Request {
	if b.none {
		return r
	}
	return r.WithContext(httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{
		GotConn: func(info httptrace.GotConnInfo) {
			c, ok := info.Conn.(*Conn)
			if !ok {
				return
			}
			b.mu.Lock()
			b.on = c
			b.mu.Unlock()
			c.carries.Store(b)
			if c.closed.Load() {
				b.lose()
			}
		},
	}))
}

// lose is called when what the body is sent on has ended. As long as nothing of it was
// read the transport may take another connection.
func (b *Body) lose() {
	b.mu.Lock()
	reading := b.begun && !b.ended && !b.stopped && b.err == nil && b.ctx.Err() == nil
	b.lost = b.lost || reading
	b.mu.Unlock()
	if reading {
		b.stop()
	}
}

// Fault is why a request that got the answer err from an http.Transport has failed,
// and whether the client is to blame for it.
func (b *Body) Fault(err error) (why error, client bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.err != nil:
		return b.err, true
	case b.lost:
		return ErrLost, false
	}
	return err, false
}

// ErrLost is what a request fails with whose body was on its way when the service ended
// the connection.
var ErrLost = errors.New("the service has ended the connection before it had the whole request")
