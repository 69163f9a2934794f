package relay

import "golang.org/x/sys/unix"

// handOver gives c, which is not in line, to the other loop. From here on it is
// that one's, with all that it holds.
func (l *eventLoop) handOver(c *conn) {
	for i := range c.sides {
		_ = unix.EpollCtl(l.poll.fd, unix.EPOLL_CTL_DEL, c.sides[i].fd, nil)
	}
	l.releaseSlot(c)
	if !l.other.receive(c) {
		l.end(c, Closed, nil)
	}
}

// receive takes c from the other loop, whose goroutine calls it, or reports that
// there is no more to be taken.
func (l *eventLoop) receive(c *conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.assignSlot(c) {
		return false
	}
	l.handed = append(l.handed, c)
	l.wakeUp()
	return true
}

// admitHanded goes on with what was received. Each gets a turn: not all that it has
// to do is announced by an event.
func (l *eventLoop) admitHanded(handed []*conn) {
	for _, c := range handed {
		if c.ended {
			continue
		}
		if c.options.hasTimer() || c.halfClosed && c.options.HalfCloseTimeout > 0 {
			l.startTimer(c)
		}
		if c.checksLeft > 0 {
			l.expectAck(c)
		}
		l.enqueue(c)
	}
}
