package relay

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// add puts a new connection into the loop, or reports that it takes no more.
func (l *eventLoop) add(c *conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.assignSlot(c) {
		return false
	}
	l.poll.added.Add(1)
	l.fresh = append(l.fresh, c)
	if c.unfinished || c.options.hasTimer() || c.halfClosed && c.options.HalfCloseTimeout > 0 {
		l.wakeUp() // all others can wait for the next event
	}
	return true
}

// assignSlot gives c a slot and has epoll watch its descriptors, or reports that the
// loop takes no more. They are watched edge-triggered: a system call that finds
// no more to read is spared as well as one that would change what is watched.
// mu is held.
func (l *eventLoop) assignSlot(c *conn) bool {
	if l.closing {
		return false
	}
	c.loop.Store(l)
	if n := len(l.free); n > 0 {
		c.slot = l.free[n-1]
		l.free = l.free[:n-1]
	} else {
		c.slot = len(l.slots)
		l.slots = append(l.slots, nil)
		l.gens = append(l.gens, 0)
	}
	l.slots[c.slot] = c
	l.gens[c.slot]++
	c.gen = l.gens[c.slot]
	for i := range c.sides {
		if err := l.register(c, i, unix.EPOLL_CTL_ADD); err != nil {
			l.stopping = append(l.stopping, c)
			l.wakeUp()
			break
		}
	}
	return true
}

// register has epoll watch sides[i], for room to write only once there was none:
// there hardly ever is, and at first it would be an event for nothing.
func (l *eventLoop) register(c *conn, i, op int) error {
	if l.poll == nil {
		return nil // a starter: assignSlot comes after it
	}
	ev := unix.EpollEvent{
		Events: unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLET,
		Fd:     int32(c.slot<<1 | i), Pad: int32(c.gen),
	}
	if c.sides[i].watching {
		ev.Events |= unix.EPOLLOUT
	}
	return unix.EpollCtl(l.poll.fd, op, c.sides[i].fd, &ev)
}

// wakeUp wakes the goroutine. mu is held: the descriptor may be somebody else's
// once the loop is gone.
func (l *eventLoop) wakeUp() {
	if l.gone {
		return
	}
	var one [8]byte
	binary.NativeEndian.PutUint64(one[:], 1)
	_, _ = unix.Write(l.wake, one[:])
}

// stop asks the goroutine to break c off.
func (l *eventLoop) stop(c *conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stopping = append(l.stopping, c)
	l.wakeUp()
}

func (l *eventLoop) quit() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closing = true
	l.wakeUp()
}

// releaseSlot takes c's slot away, if it has one.
func (l *eventLoop) releaseSlot(c *conn) {
	delete(l.timers, c)
	delete(l.unacked, c)
	if c.slot < 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.slots[c.slot] = nil
	l.free = append(l.free, c.slot)
	c.slot = -1
}

// requests are what other goroutines have asked of a loop since its last round.
type requests struct {
	stopping, fresh, handed []*conn
	closing                 bool
}

// resolve finds the connections of events. One that has ended since, or was
// handed over, and whose slot may have a new owner, has another generation.
func (l *eventLoop) resolve(kernel []unix.EpollEvent, events []event) ([]event, requests) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, k := range kernel {
		if k.Fd < 0 {
			var n [8]byte
			_, _ = unix.Read(l.wake, n[:])
			continue
		}
		slot := int(k.Fd >> 1)
		if c := l.slots[slot]; c != nil && l.gens[slot] == uint32(k.Pad) {
			events = append(events, event{c, int(k.Fd & 1), k.Events})
		}
	}
	asked := requests{l.stopping, l.fresh, l.handed, l.closing}
	l.stopping, l.fresh, l.handed = nil, nil, nil
	return events, asked
}
