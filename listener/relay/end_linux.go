package relay

import (
	"time"

	"golang.org/x/sys/unix"

	"connect-proxy/listener/secure"
)

// ended marks the end that f's sender gave it.
func (l *loop) ended(c *conn, f *flow) {
	c.endedBy(f)
	l.halfClosed(c)
}

func (c *conn) endedBy(f *flow) {
	f.ended = true
	if f == &c.flows[1] && !c.flows[0].ended {
		c.upstreamFirst = true
	}
}

// halfClosed starts the clock of a connection with one direction left.
func (l *loop) halfClosed(c *conn) {
	if c.half = true; c.options.HalfCloseTimeout > 0 {
		l.now = time.Now()
		c.moved = l.now
		l.clock(c)
	}
}

// passEnd tells the receiver of flows[i] that there is no more.
func (l *loop) passEnd(c *conn, i int) *sideError {
	f, dst := &c.flows[i], &c.sides[1-i]
	if f.passed {
		return nil
	}
	// The second direction to end is followed by a close at once: that brings
	// the FIN, and the close_notify goes in one packet with it.
	last := c.flows[1-i].passed
	if !f.told {
		f.told = true
		if dst.tls != nil {
			dst.more = last
			var room [secure.Overhead * 2]byte
			if err := l.send(c, i, dst.tls.CloseNotify(room[:0])); err != nil {
				return err
			}
		}
	}
	if len(f.pending) > 0 {
		return nil
	}
	f.passed = true
	if dst.tls == nil && !last {
		if err := unix.Shutdown(dst.fd, unix.SHUT_WR); err != nil && err != unix.ENOTCONN {
			return &sideError{side: 1 - i, writing: true, err: err}
		}
	}
	return nil
}

// refuse answers a violation of TLS with its alert, before the reset that
// follows (RFC 8446 6.2). Where the side has more to take first, or its end,
// there is no place for one.
func (l *loop) refuse(c *conn, e *sideError) {
	s, f := &c.sides[e.side], &c.flows[1-e.side]
	if s.tls == nil || e.writing || f.told || len(f.pending) > 0 {
		return
	}
	var room [secure.Overhead * 2]byte
	if alert := s.tls.Refuse(room[:0], e.err); len(alert) > 0 {
		_, _ = write(s, alert)
	}
}

// end closes the connection: with resets, so that nobody takes what came for
// everything, unless both directions were ended by their senders.
func (l *loop) end(c *conn, end End, err error) {
	if c.ended {
		return
	}
	l.remove(c)
	for i := range c.sides {
		if end != Clean && !c.stillDelivering(i) {
			_ = unix.SetsockoptLinger(c.sides[i].fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
		}
		unix.Close(c.sides[i].fd)
	}
	c.result = Result{
		ToUpstream: c.flows[0].count, ToClient: c.flows[1].count, End: end, Err: err,
		UpstreamFirst: c.upstreamFirst || end == UpstreamReset,
	}
	l.over = append(l.over, c)
}

// remove takes c out of the loop and gives back its buffers. Its descriptors are
// left open.
func (l *loop) remove(c *conn) {
	c.ended = true
	delete(l.timed, c)
	delete(l.watched, c)
	l.mu.Lock()
	l.slots[c.slot] = nil
	l.free = append(l.free, c.slot)
	l.mu.Unlock()
	for i := range c.sides {
		l.keep(&c.sides[i], nil)
		l.release(&c.flows[i])
	}
}
