package admin

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"sync"

	"connect-proxy/listener"
)

// sharedListener shares the connections of a server that other machines reach among
// their addresses: beyond max, the oldest of the address that has most is closed for
// one that has fewer. Those of this machine are counted apart, and never closed for
// others.
type sharedListener struct {
	net.Listener
	max, maxOfAddress int

	mu   sync.Mutex // guards open
	open []*sharedConn
}

func newSharedListener(ln net.Listener, max, maxOfAddress int) *sharedListener {
	return &sharedListener{Listener: ln, max: max, maxOfAddress: maxOfAddress}
}

// Accept is net.Listener's.
func (l *sharedListener) Accept() (net.Conn, error) {
	for {
		raw, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		c := &sharedConn{Conn: raw, of: l, owner: ownerOf(raw)}
		gone, ok := l.take(c)
		if gone != nil {
			_ = gone.Close()
		}
		if ok {
			return c, nil
		}
		_ = raw.Close()
	}
}

// take counts c, if there is a place for it, and returns what is to be closed for it.
func (l *sharedListener) take(c *sharedConn) (gone *sharedConn, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	count := make(map[netip.Addr]int)
	others := 0
	for _, o := range l.open {
		if count[o.owner]++; o.owner.IsValid() {
			others++
		}
	}
	if count[c.owner] >= l.maxOfAddress {
		return nil, false
	}
	if c.owner.IsValid() && others >= l.max {
		i := -1
		for j, o := range l.open {
			if o.owner.IsValid() && (i < 0 || count[o.owner] > count[l.open[i].owner]) {
				i = j
			}
		}
		if gone = l.open[i]; count[gone.owner] <= count[c.owner] {
			return nil, false
		}
		l.open = slices.Delete(l.open, i, i+1)
	}
	l.open = append(l.open, c)
	return gone, true
}

func (l *sharedListener) release(c *sharedConn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open = slices.DeleteFunc(l.open, func(o *sharedConn) bool { return o == c })
}

// ownerOf is to whom a connection counts: its address, or for this machine the zero
// Addr.
func ownerOf(c net.Conn) netip.Addr {
	far, ok := c.RemoteAddr().(*net.TCPAddr)
	near, both := c.LocalAddr().(*net.TCPAddr)
	if !ok || far.IP.IsLoopback() || both && far.IP.Equal(near.IP) {
		return netip.Addr{}
	}
	return listener.SourceOf(far)
}

// sharedConn is a connection that counts.
type sharedConn struct {
	net.Conn
	of    *sharedListener
	owner netip.Addr
	// end ends its requests; nil until it is served.
	end context.CancelFunc
}

// withConn has the context of a connection's requests be done when it is closed:
// net/http sees the end of a connection only once the body of the request has been
// read, which no page does.
func withConn(ctx context.Context, c net.Conn) context.Context {
	if shared, ok := c.(*sharedConn); ok {
		// By the goroutine that accepts, as is what is closed for another address.
		ctx, shared.end = context.WithCancel(ctx)
	}
	return ctx
}

// Close is net.Conn's.
func (c *sharedConn) Close() error {
	if c.end != nil {
		c.end()
	}
	defer c.of.release(c)
	return c.Conn.Close()
}
