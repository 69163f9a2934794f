package relay

import (
	"encoding/binary"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"connect-proxy/listener/secure"
)

const (
	maxBatch = 256 << 10 // bytes read at a time at most
	minBatch = 16 << 10
)

// loop serves connections with one goroutine over one epoll descriptor. All
// fields of its connections belong to that goroutine once add has returned.
type loop struct {
	poll *poll
	wake int // an eventfd

	mu       sync.Mutex
	slots    []*conn  // by slot
	gens     []uint32 // how often each slot has been used
	free     []int    // unused slots
	stopping []*conn  // asked to stop from outside
	fresh    []*conn  // with bytes that no event will announce
	closing  bool     // no more is added
	gone     bool     // the descriptors are closed

	// What follows is the goroutine's alone.
	in, out []byte // what is read, and what is made of it
	extra   []byte // see second
	spare   [len(classes)][][]byte
	ready   line               // have more to do without waiting for an event
	over    []*conn            // have ended in this round
	timed   map[*conn]struct{} // those with a limit that may be reached
	now     time.Time          // of this round, kept only while something is timed
	due     time.Time          // when tick must look again
	watched map[*conn]struct{} // those on which something was sent lately
	sweepAt time.Time          // when sweep must look again

	sinceQuick int // turns in line since a quick connection was served, up to attention
	unbroken   int // cost of turns in line since the loop has waited or yielded
}

// event is one readiness report, resolved to its connection.
type event struct {
	c    *conn
	side int
	bits uint32
}

func newLoop() (*loop, error) {
	p, err := newPoll()
	if err != nil {
		return nil, err
	}
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		p.close()
		return nil, err
	}
	ev := unix.EpollEvent{Events: unix.EPOLLIN, Fd: -1}
	if err := unix.EpollCtl(p.fd, unix.EPOLL_CTL_ADD, wake, &ev); err != nil {
		p.close()
		unix.Close(wake)
		return nil, err
	}
	return &loop{
		poll: p, wake: wake,
		in:    make([]byte, maxBatch),
		out:   make([]byte, 0, secure.Sealed(maxBatch)),
		timed: make(map[*conn]struct{}), watched: make(map[*conn]struct{}),
		sinceQuick: attention,
	}, nil
}

// add puts c into the loop, or reports that it takes no more. The descriptors
// are watched edge-triggered: a system call that finds no more to read is spared
// as well as one that would change what is watched.
func (l *loop) add(c *conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closing {
		return false
	}
	if n := len(l.free); n > 0 {
		c.slot = l.free[n-1]
		l.free = l.free[:n-1]
	} else {
		c.slot = len(l.slots)
		l.slots = append(l.slots, nil)
		l.gens = append(l.gens, 0)
	}
	l.poll.added.Add(1)
	l.slots[c.slot] = c
	l.gens[c.slot]++
	c.gen = l.gens[c.slot]
	for i := range c.sides {
		if err := l.register(c, i, unix.EPOLL_CTL_ADD, 0); err != nil {
			l.stopping = append(l.stopping, c)
			l.poke()
			return true
		}
	}
	if c.needsLook() {
		l.fresh = append(l.fresh, c)
		l.poke()
	}
	return true
}

// needsLook reports whether c has to be served before an event comes.
func (c *conn) needsLook() bool {
	if c.options.timed() || c.half {
		return true
	}
	for i := range c.sides {
		if c.sides[i].err != nil || len(c.flows[i].pending) > 0 || c.sides[i].tls != nil && c.sides[i].tls.Owes() {
			return true
		}
	}
	return false
}

// register has epoll watch sides[i] for all but room to write: hardly ever is
// there none, and there is room at first, which would be an event for nothing.
func (l *loop) register(c *conn, i, op int, more uint32) error {
	ev := unix.EpollEvent{
		Events: unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLET | more,
		Fd:     int32(c.slot<<1 | i), Pad: int32(c.gen),
	}
	return unix.EpollCtl(l.poll.fd, op, c.sides[i].fd, &ev)
}

// poke wakes the goroutine. mu is held: the descriptor may be somebody else's
// once the loop is gone.
func (l *loop) poke() {
	if l.gone {
		return
	}
	var one [8]byte
	binary.NativeEndian.PutUint64(one[:], 1)
	_, _ = unix.Write(l.wake, one[:])
}

// stop asks the goroutine to break c off.
func (l *loop) stop(c *conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stopping = append(l.stopping, c)
	l.poke()
}

func (l *loop) quit() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closing = true
	l.poke()
}

// run is the loop.
func (l *loop) run() {
	kernel := make([]unix.EpollEvent, 256)
	events := make([]event, 0, len(kernel))
	for rounds := 0; ; rounds++ {
		if l.round(kernel, events, rounds%1024 == 0) {
			return
		}
	}
}

// round waits for events and serves connections, those that move little first.
// It reports whether it was the last round.
func (l *loop) round(kernel []unix.EpollEvent, events []event, sweep bool) (closing bool) {
	patience := l.patience()
	if patience != 0 {
		l.unbroken = 0
	}
	n := l.poll.wait(kernel, patience)
	var stopping, fresh []*conn
	events, stopping, fresh, closing = l.resolve(kernel[:n], events[:0])
	if len(l.timed) > 0 || len(fresh) > 0 {
		l.now = time.Now()
	}
	l.admit(fresh)
	quick := l.serveEvents(events)
	for _, c := range stopping {
		l.end(c, Closed, nil)
	}
	l.serveReady(quick)
	l.tick()
	if n == 0 || sweep {
		l.sweep()
	}
	clear(events)
	if closing {
		l.closeAll()
	}
	l.tell()
	return closing
}

// resolve finds the connections of events. One that has ended since, and
// whose slot may have a new owner, has another generation.
func (l *loop) resolve(kernel []unix.EpollEvent, events []event) (_ []event, stopping, fresh []*conn, closing bool) {
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
	stopping, l.stopping = l.stopping, nil
	fresh, l.fresh = l.fresh, nil
	return events, stopping, fresh, l.closing
}

// admit starts connections that need more than their events.
func (l *loop) admit(fresh []*conn) {
	for _, c := range fresh {
		if c.ended {
			continue
		}
		c.moved = l.now
		if c.options.timed() {
			l.clock(c)
		}
		if c.half {
			l.halfClosed(c)
		}
		for i := range c.flows {
			if err := l.answer(c, i); err != nil {
				c.sides[1-i].err = err.err
			}
		}
		l.serve(c)
	}
}

// tell calls back for the connections that have ended, on one goroutine for all
// of a round: what the callback does may take its time.
func (l *loop) tell() {
	if len(l.over) == 0 {
		return
	}
	over := l.over
	l.over = nil
	go func() {
		for _, c := range over {
			c.done(c.result)
		}
	}()
}

// closeAll ends every connection and the loop itself.
func (l *loop) closeAll() {
	l.mu.Lock()
	all := append([]*conn(nil), l.slots...)
	l.mu.Unlock()
	for _, c := range all {
		if c != nil {
			l.end(c, Closed, nil)
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.gone = true
	l.poll.close()
	unix.Close(l.wake)
}
