package relay

import (
	"net"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"

	"connect-proxy/listener/secure"
)

// loops are an Engine's event loops. Engine.mu guards them.
type loops struct {
	all  []*loop
	next int
}

// pick chooses the loop for a new connection; nil if there can be none.
func (ls *loops) pick(e *Engine) *loop {
	if len(ls.all) < maxLoops() {
		l, err := newLoop()
		if err != nil {
			return nil
		}
		ls.all = append(ls.all, l)
		e.work.Go(l.run)
	}
	ls.next++
	return ls.all[ls.next%len(ls.all)]
}

// start hands the connection to l. It reports false, and has touched neither
// side, where a loop cannot take both.
func (l *loop) start(client, upstream net.Conn, o Options, done func(Result)) (*Relay, bool) {
	if l == nil {
		return nil, false
	}
	c := &conn{loop: l, options: o, done: done, replay: newReplay(o)}
	if !take(c, client, upstream) {
		return nil, false
	}
	c.prime()
	if !l.add(c) {
		for i := range c.sides {
			unix.Close(c.sides[i].fd)
		}
		go done(Result{End: Closed})
	}
	return &Relay{close: func() { l.stop(c) }}, true
}

// maxLoops leaves half of the processors to handshakes and to the
// applications: one loop moves more than a gigabyte a second, and each further
// one is a thread to wake.
func maxLoops() int { return max(1, runtime.GOMAXPROCS(0)/2) }

func (ls *loops) close() {
	for _, l := range ls.all {
		l.quit()
	}
}

// take turns two connections into sides, or leaves both as they were.
func take(c *conn, client, upstream net.Conn) bool {
	if !detachable(client) || !detachable(upstream) {
		return false
	}
	fa, ok := dup(client)
	if !ok {
		return false
	}
	fb, ok := dup(upstream)
	if !ok {
		unix.Close(fa)
		return false
	}
	c.adopt(0, fa, client)
	c.adopt(1, fb, upstream)
	return true
}

// dup makes a descriptor that the runtime's poller does not know: one that both
// watch would wake both for every packet.
func dup(c net.Conn) (int, bool) {
	if s, ok := c.(*secure.Conn); ok {
		c = s.Transport()
	}
	switch c.(type) {
	case *net.TCPConn, *net.UnixConn:
	default:
		return 0, false
	}
	rc, err := c.(syscall.Conn).SyscallConn()
	if err != nil {
		return 0, false
	}
	fd := -1
	err = rc.Control(func(old uintptr) {
		fd, _ = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0)
	})
	return fd, err == nil && fd >= 0
}

func detachable(c net.Conn) bool {
	s, ok := c.(*secure.Conn)
	return !ok || s.Detachable()
}

// adopt takes over the descriptor and the TLS state of nc as sides[i], and
// closes nc's own descriptor.
func (c *conn) adopt(i, fd int, nc net.Conn) {
	s := &c.sides[i]
	s.fd, s.readable, s.writable = fd, true, true
	if sc, ok := nc.(*secure.Conn); ok {
		d, _ := sc.Detach()
		s.tls, s.partial = d.Records, d.Unread
		c.flows[1-i].pending = d.Unsent
		nc = d.Raw
	}
	if first := c.options.First; i == 1 && len(first) > 0 {
		f := &c.flows[0]
		if f.owed = int64(len(first)); s.tls != nil {
			f.pending = s.tls.Seal(f.pending, first)
		} else {
			f.pending = append([]byte(nil), first...)
		}
		c.options.First = nil
	}
	_ = nc.Close()
}
