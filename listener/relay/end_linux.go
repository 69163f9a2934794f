package relay

import (
	"time"

	"golang.org/x/sys/unix"

	"connect-proxy/listener/secure"
)

// markEnded notes the end that f's sender gave it.
func (l *eventLoop) markEnded(c *conn, f *flow) {
	c.endedBy(f)
	l.markHalfClosed(c)
}

func (c *conn) endedBy(f *flow) {
	f.ended = true
	if f == &c.flows[1] && !c.flows[0].ended {
		c.upstreamFirst = true
	}
}

// markHalfClosed starts the timer of a connection with one direction left.
func (l *eventLoop) markHalfClosed(c *conn) {
	if c.halfClosed = true; c.options.HalfCloseTimeout > 0 {
		l.now = time.Now()
		c.moved = l.now
		l.startTimer(c)
	}
}

// sendEnd tells the receiver of flows[i] that there is no more.
func (l *eventLoop) sendEnd(c *conn, i int) *sideError {
	f, dst := &c.flows[i], &c.sides[1-i]
	if f.endDelivered {
		return nil
	}
	// The second direction to end is followed by a close at once: that brings
	// the FIN, and the close_notify goes in one packet with it.
	last := c.flows[1-i].endDelivered
	if !f.endSent {
		f.endSent = true
		var room [secure.Overhead * 2]byte
		if notify := dst.end(room[:0]); len(notify) > 0 {
			dst.cork, dst.ended = last, true
			if err := l.send(c, i, notify); err != nil {
				return err
			}
		}
	}
	if len(f.pending) > 0 {
		return nil
	}
	f.endDelivered = true
	if !dst.ended && !last {
		if err := unix.Shutdown(dst.fd, unix.SHUT_WR); err != nil && err != unix.ENOTCONN {
			return &sideError{side: 1 - i, writing: true, err: err}
		}
	}
	return nil
}

// refuse answers a violation of TLS with its alert, before the reset that
// follows (RFC 8446 6.2). Where the side has more to take first, or its end,
// there is no place for one.
func (l *eventLoop) refuse(c *conn, e *sideError) {
	s, f := &c.sides[e.side], &c.flows[1-e.side]
	if e.writing || f.endSent || len(f.pending) > 0 {
		return
	}
	var room [secure.Overhead * 2]byte
	if alert := s.protocol.refuse(room[:0], e.err); len(alert) > 0 {
		_, _ = write(s, alert)
	}
}

// end closes the connection: with resets, so that nobody takes what came for
// everything, unless both directions were ended by their senders.
func (l *eventLoop) end(c *conn, end End, err error) {
	if c.ended {
		return
	}
	l.remove(c)
	c.replay = replay{}
	c.addToCounters()
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
	l.finished = append(l.finished, c)
}

// remove takes c out of the loop and gives back its buffers. Its descriptors are
// left open.
func (l *eventLoop) remove(c *conn) {
	c.ended = true
	l.releaseSlot(c)
	for i := range c.sides {
		l.keepPartial(&c.sides[i], nil)
		l.release(&c.flows[i])
	}
}
