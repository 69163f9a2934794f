package relay

import (
	"net"
	"syscall"
	"time"

	"connect-proxy/listener/deadpeer"
	"connect-proxy/listener/secure"
)

// looks is how often a connection is looked at after the last byte was sent on
// it: long enough for a peer that never acknowledges it to be found out.
const looks = int(deadpeer.After/deadpeer.Every) + 3

// sent notes that a side of c has something to acknowledge.
func (l *loop) sent(c *conn) {
	if c.looks == 0 {
		if len(l.watched) == 0 {
			l.sweepAt = time.Now().Add(deadpeer.Every)
		}
		l.watched[c] = struct{}{}
	}
	c.looks = looks
}

// sweep ends the connections whose peer is dead, and takes its eyes off those
// on which nothing has been sent for long: a connection at rest costs nothing.
func (l *loop) sweep() {
	if len(l.watched) == 0 {
		return
	}
	now := time.Now()
	if now.Before(l.sweepAt) {
		return
	}
	for c := range l.watched {
		for i := range c.sides {
			if deadpeer.Lost(c.sides[i].fd) {
				l.end(c, ends[i], deadpeer.Err)
				break
			}
		}
		if c.looks--; c.looks == 0 {
			delete(l.watched, c)
		}
	}
	l.sweepAt = now.Add(deadpeer.Every)
}

// lost asks about a connection that goroutines copy.
func lost(c net.Conn) bool {
	if s, ok := c.(*secure.Conn); ok {
		c = s.Transport()
	}
	sc, ok := c.(syscall.Conn)
	if !ok {
		return false
	}
	rc, err := sc.SyscallConn()
	if err != nil {
		return false
	}
	is := false
	err = rc.Control(func(fd uintptr) { is = deadpeer.Lost(int(fd)) })
	return is && err == nil
}
