package relay

import (
	"net"
	"syscall"
	"time"

	"connect-proxy/listener/deadpeer"
	"connect-proxy/listener/secure"
)

// checks is how often a connection is checked after the last byte was sent on
// it: long enough for a peer that never acknowledges it to be found out.
const checks = int(deadpeer.After/deadpeer.Every) + 3

// noteSent notes that a side of c has something to acknowledge.
func (l *eventLoop) noteSent(c *conn) {
	if c.checksLeft == 0 {
		l.expectAck(c)
	}
	c.checksLeft = checks
}

// expectAck puts c among those that checkDeadPeers asks about.
func (l *eventLoop) expectAck(c *conn) {
	if len(l.unacked) == 0 {
		l.nextCheck = time.Now().Add(deadpeer.Every)
	}
	l.unacked[c] = struct{}{}
}

// checkDeadPeers ends the connections whose peer is dead. Those on which nothing
// has been sent for long are not checked any more: a connection at rest costs
// nothing.
func (l *eventLoop) checkDeadPeers() {
	if len(l.unacked) == 0 {
		return
	}
	now := time.Now()
	if now.Before(l.nextCheck) {
		return
	}
	for c := range l.unacked {
		for i := range c.sides {
			if deadpeer.Lost(c.sides[i].fd) {
				l.end(c, ends[i], deadpeer.Err)
				break
			}
		}
		if c.checksLeft--; c.checksLeft == 0 {
			delete(l.unacked, c)
		}
	}
	l.nextCheck = now.Add(deadpeer.Every)
}

// peerIsDead reports it of a connection that goroutines copy.
func peerIsDead(c net.Conn) bool {
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
