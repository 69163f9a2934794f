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
	all  []*eventLoop // the quick ones
	next int
}

// pick chooses the loop for a new connection; nil if there can be none.
func (ls *loops) pick(e *Engine) *eventLoop {
	if len(ls.all) < maxLoops() {
		l, err := newLoops()
		if err != nil {
			return nil
		}
		ls.all = append(ls.all, l)
		e.work.Go(l.run)
		e.work.Go(l.other.run)
	}
	ls.next++
	return ls.all[ls.next%len(ls.all)]
}

// start hands the connection to l. It reports false, and has touched neither
// side, where a loop cannot take both.
func (l *eventLoop) start(client, upstream net.Conn, o Options, done func(Result)) (*Relay, bool) {
	if l == nil {
		return nil, false
	}
	c := &conn{options: o, done: done, replay: newReplay(o), slot: -1}
	if !adoptBoth(c, client, upstream) {
		return nil, false
	}
	c.loop.Store(l)
	l.begin(c)
	return &Relay{close: func() { c.loop.Load().stop(c) }}, true
}

// maxLoops is how many loops there are of either kind. It leaves half of the
// processors to handshakes and to the applications: one loop moves more than a
// gigabyte a second, and each further one is a thread to wake.
func maxLoops() int { return max(1, runtime.GOMAXPROCS(0)/2) }

func (ls *loops) close() {
	for _, l := range ls.all {
		l.quit()
		l.other.quit()
	}
}

// adoptBoth turns two connections into sides, or leaves both as they were.
func adoptBoth(c *conn, client, upstream net.Conn) bool {
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
	s.fd, s.writable, s.protocol = fd, true, plain{}
	f := &c.flows[1-i]
	if sc, ok := nc.(*secure.Conn); ok {
		d, _ := sc.Detach()
		s.protocol, s.partial, f.pending = records{d.Records}, d.Unread, d.Unsent
		s.unopened = len(d.Unread) > 0
		nc = d.Raw
	}
	if first := c.options.First; i == 1 && len(first) > 0 {
		f.uncounted = int64(len(first))
		f.pending = append(f.pending, s.seal(nil, first)...)
		c.options.First = nil
	}
	// With the last flight of our handshake goes what has come for it by now.
	f.early = len(f.pending) > 0
	c.sides[1-i].readable = f.early
	_ = nc.Close()
}
