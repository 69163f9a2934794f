package relay

import (
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"connect-proxy/listener/secure"
)

const (
	maxBatch = 256 << 10 // bytes read at a time at most
	minBatch = 16 << 10
)

// eventLoop serves connections with one goroutine over one epoll descriptor. All
// fields of its connections belong to that goroutine once add has returned.
//
// There are two for the same connections: a quick one for those that move
// little and a busy one for the others. The kernel shares the processors between
// their threads, and wakes the quick one at once.
type eventLoop struct {
	poll  *poll
	wake  int // an eventfd
	busy  bool
	limit int // of conn.load, from which on a connection is busy
	other *eventLoop

	served atomic.Uint32 // rounds that were not in vain

	mu       sync.Mutex
	slots    []*conn  // by slot
	gens     []uint32 // how often each slot has been used
	free     []int    // unused slots
	stopping []*conn  // asked to stop from outside
	fresh    []*conn  // with bytes that no event will announce
	handed   []*conn  // taken over from the other loop
	closing  bool     // no more is added
	gone     bool     // the descriptors are closed

	// What follows is the goroutine's alone.
	in, out      []byte // what is read, and what is made of it
	extra        []byte // see sealBuffer
	freeBuffers  [len(bufferSizes)][][]byte
	ready        queue              // have more to do without waiting for an event
	finished     []*conn            // have ended in this round
	timers       map[*conn]struct{} // those with a limit that may be reached
	now          time.Time          // of this round, kept only while there are timers
	nextDeadline time.Time          // when expire has something to do
	unacked      map[*conn]struct{} // those on which something was sent lately
	nextCheck    time.Time          // when checkDeadPeers has

	unbroken int    // cost of turns in line since the loop has waited or yielded
	seen     uint32 // other.served at the last look, and
	since    int    // how many turns in line ago it changed
}

// event is one readiness report, resolved to its connection.
type event struct {
	c    *conn
	side int
	bits uint32
}

func newLoop() (*eventLoop, error) {
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
	return &eventLoop{
		poll: p, wake: wake,
		in:     make([]byte, maxBatch),
		out:    make([]byte, 0, secure.Sealed(maxBatch)),
		timers: make(map[*conn]struct{}), unacked: make(map[*conn]struct{}),
	}, nil
}

// newLoops makes a quick loop and the busy one beside it.
func newLoops() (quick *eventLoop, _ error) {
	quick, err := newLoop()
	if err != nil {
		return nil, err
	}
	busy, err := newLoop()
	if err != nil {
		quick.closeAll()
		return nil, err
	}
	quick.other, quick.limit = busy, busyFrom
	busy.other, busy.limit, busy.busy = quick, quickBelow, true
	return quick, nil
}

// run serves until the loop is asked to end.
func (l *eventLoop) run() {
	kernel := make([]unix.EpollEvent, 256)
	events := make([]event, 0, len(kernel))
	for rounds := 0; ; rounds++ {
		if l.round(kernel, events, rounds%1024 == 0) {
			return
		}
	}
}

// round waits for events and serves connections. It reports whether it was the
// last round.
func (l *eventLoop) round(kernel []unix.EpollEvent, events []event, check bool) (closing bool) {
	timeout := l.untilNextTask()
	if timeout != 0 {
		l.unbroken = 0
	}
	n := l.poll.wait(kernel, timeout)
	if n > 0 {
		l.served.Add(1)
	}
	events, asked := l.resolve(kernel[:n], events[:0])
	if len(l.timers) > 0 || len(asked.fresh)+len(asked.handed) > 0 {
		l.now = time.Now()
	}
	l.admitNew(asked.fresh)
	l.admitHanded(asked.handed)
	l.serveEvents(events)
	for _, c := range asked.stopping {
		if owner := c.loop.Load(); owner != l {
			owner.stop(c) // it was handed over meanwhile
			continue
		}
		l.end(c, Closed, nil)
	}
	l.serveReady()
	l.expire()
	if n == 0 || check {
		l.checkDeadPeers()
	}
	clear(events)
	if asked.closing {
		l.closeAll()
	}
	l.callBack()
	return asked.closing
}

// admitNew goes on with new connections after their first turn.
func (l *eventLoop) admitNew(fresh []*conn) {
	for _, c := range fresh {
		if c.ended {
			continue
		}
		c.moved = l.now
		if c.options.hasTimer() {
			l.startTimer(c)
		}
		if c.halfClosed {
			l.markHalfClosed(c)
		}
		if c.checksLeft > 0 {
			l.expectAck(c)
		}
		if c.unfinished {
			l.serve(c)
		}
	}
}

// callBack calls back for the connections that have ended, on one goroutine for
// all of a round: a callback may take its time.
func (l *eventLoop) callBack() {
	if len(l.finished) == 0 {
		return
	}
	finished := l.finished
	l.finished = nil
	go func() {
		for _, c := range finished {
			c.done(c.result)
		}
	}()
}

// closeAll ends every connection and the loop itself.
func (l *eventLoop) closeAll() {
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
