package relay

import (
	"io"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"connect-proxy/listener/secure"
)

// conn is a connection that a loop serves: sides[0] is the client, sides[1] the
// upstream, and flows[i] goes from sides[i] to the other.
type conn struct {
	loop    atomic.Pointer[eventLoop] // whose goroutine it belongs to
	slot    int                       // in loop, negative on the way to another
	gen     uint32                    // of the slot
	options Options
	done    func(Result)

	sides [2]side
	flows [2]flow

	started, moved time.Time // kept only while the connection has a timer
	halfClosed     bool      // one direction has ended
	unfinished     bool      // has more to do without waiting for an event
	queued         bool      // is in loop.ready, and
	next           *conn     // who is behind it there
	load           int       // what its turns have cost lately
	checksLeft     int       // for how many more checks it stays in loop.unacked
	ended          bool
	result         Result // once it has ended

	// broken is the side that takes no more, while what it had sent before is
	// still delivered; valid if cause is set.
	broken End
	cause  error

	replay        replay
	upstreamFirst bool // see Result
}

// side is one socket. readable and writable are what the kernel is believed to
// say until a system call says otherwise.
type side struct {
	protocol
	fd                 int
	readable, writable bool
	failed             bool   // the kernel has an error to tell
	hungUp             bool   // the peer's FIN has come: the end is to be read
	watching           bool   // for room to write
	ended              bool   // our direction ends with a message, not the socket's
	cork               bool   // what is written is followed by the close
	partial            []byte // the beginning of a record whose rest is to come
	unopened           bool   // partial holds whole records, left for another turn
}

// flow is one direction.
type flow struct {
	pending      []byte // made but not yet taken by the receiver
	early        bool   // pending waits for what is read first, to go with it
	buf          []byte // the buffer that pending lies in
	batch        int    // bytes to read at a time
	ended        bool   // the sender has ended it
	endSent      bool   // and its receiver is being told
	endDelivered bool   // and has been told
	count        int64  // application bytes handed to the receiver's kernel
	counted      int64  // how many of them are in Options.Counters
	// uncounted is how many of the pending bytes' application bytes are not in count
	// yet: they are counted when the last of them is taken.
	uncounted int64
}

// noteEvents keeps what the kernel reported.
func (c *conn) noteEvents(i int, bits uint32) {
	s := &c.sides[i]
	if bits&(unix.EPOLLIN|unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		s.readable = true
	}
	if bits&(unix.EPOLLOUT|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		s.writable = true
	}
	if bits&(unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		s.hungUp = true
	}
	s.failed = s.failed || bits&unix.EPOLLERR != 0
}

// remaining returns for how long c may go on as it is, and as what it ends then.
func (c *conn) remaining(now time.Time) (time.Duration, End) {
	return c.options.remaining(now.Sub(c.started), c.moved.Sub(c.started), c.halfClosed)
}

var ends = [2]End{ClientReset, UpstreamReset}

// serve moves what can be moved, both ways, for one turn each, and returns what
// that has cost. Afterwards c has ended, waits for an event, stands in line or
// belongs to the other loop.
func (l *eventLoop) serve(c *conn) (cost int) {
	c.unfinished = false
	for i := range c.flows {
		if c.ended {
			return cost
		}
		spent, err := l.pump(c, i)
		cost += spent
		if err == nil {
			err = c.lostAfterEnd(i)
		}
		if err != nil {
			l.failed(c, err)
		}
	}
	c.charge(cost)
	c.addToCounters()
	if !c.ended && c.flows[0].endDelivered && c.flows[1].endDelivered {
		l.end(c, c.broken, c.cause) // Clean is the zero value
	}
	switch {
	case c.ended:
	case cost > 0 && l.belongsToOther(c):
		l.handOver(c)
	case c.unfinished:
		l.enqueue(c)
	}
	return cost
}

// addToCounters adds what has moved since the last time to Options.Counters, unless it
// may have to be sent again.
func (c *conn) addToCounters() {
	if c.replay.possible() {
		return
	}
	for i := range c.flows {
		f := &c.flows[i]
		c.options.Counters.add(i, f.count-f.counted)
		f.counted = f.count
	}
}

// failed ends a connection of which a side broke off. If it was writing that
// found it, the side may have sent something before: its answer to a request
// that it would not read to the end, say. That is delivered first.
func (l *eventLoop) failed(c *conn, e *sideError) {
	if l.refused(c, e) {
		return
	}
	if e.writing && c.cause == nil {
		c.broken, c.cause = ends[e.side], e.err
		f := &c.flows[1-e.side]
		l.release(f)
		f.ended, f.endSent, f.endDelivered = true, true, true
		c.sides[e.side].readable = true
		l.markHalfClosed(c)
		c.unfinished = true
		return
	}
	l.refuse(c, e)
	if c.cause != nil {
		l.end(c, c.broken, c.cause)
		return
	}
	l.end(c, ends[e.side], e.err)
}

// pump moves bytes from sides[i] to the other until there is nothing to read,
// no room to write, or it is the others' turn. It returns what that has cost.
func (l *eventLoop) pump(c *conn, i int) (cost int, _ *sideError) {
	f, src := &c.flows[i], &c.sides[i]
	turn := l.turn()
	if f.early {
		f.early = false
		if cost, err := l.move(c, i, turn); err != nil {
			return cost, err
		}
	}
	for {
		pending := len(f.pending)
		blocked, err := l.flush(c, i)
		cost += max(0, pending-len(f.pending))
		if blocked || err != nil {
			return cost, err
		}
		if f.ended {
			return cost, l.sendEnd(c, i)
		}
		if !src.readable && !src.unopened {
			return cost, nil
		}
		if cost >= turn {
			c.unfinished = true
			return cost, nil
		}
		spent, err := l.move(c, i, turn-cost)
		cost += spent
		if err != nil {
			return cost, err
		}
	}
}

// move reads once from sides[i] and offers what came to the other side. It
// returns what that has cost, which is to be no more than most by far.
func (l *eventLoop) move(c *conn, i, most int) (cost int, _ *sideError) {
	f, src := &c.flows[i], &c.sides[i]
	have := copy(l.in, src.partial)
	n, eof, err := l.read(f, src, have)
	if err != nil {
		return 0, &sideError{side: i, err: err}
	}
	all := l.in[:have+n]
	content, used, spent, err := src.open(l.out[:0], all, most)
	cost = n + callCost + spent
	complete, _ := completeRecords(all[used:], 1)
	src.unopened = err == nil && complete > 0
	l.keepPartial(src, all[used:])
	if werr := l.answer(c, 1-i); werr != nil && err == nil {
		err = werr.err
	}
	if err == nil && eof {
		err = src.eof()
	}
	if err == io.EOF {
		l.markEnded(c, f)
	}
	if len(l.timers) > 0 && len(content) > 0 {
		c.moved = l.now
	}
	if len(content) > 0 {
		c.replay.pass(i, content)
		if err := l.offer(c, i, content); err != nil {
			return cost, err
		}
	}
	if err != nil && err != io.EOF {
		return cost, &sideError{side: i, err: err}
	}
	if f.ended && c.cause != nil {
		// After a side broke off, its socket may look as if it had ended.
		return cost, &sideError{side: i, err: c.cause}
	}
	return cost, nil
}

// answer sends what the receiver of flows[i] has asked for, such as new keys. Where
// something is pending it waits until that is taken: a peer that asks on and on
// and reads nothing must not make us keep an answer for each time.
func (l *eventLoop) answer(c *conn, i int) *sideError {
	f, dst := &c.flows[i], &c.sides[1-i]
	if !dst.replyPending() || f.endSent || len(f.pending) > 0 {
		return nil
	}
	var room [secure.Overhead * 4]byte
	return l.send(c, i, dst.seal(room[:0], nil))
}

// offer hands content to the receiver of flows[i].
func (l *eventLoop) offer(c *conn, i int, content []byte) *sideError {
	f, dst := &c.flows[i], &c.sides[1-i]
	f.uncounted += int64(len(content))
	room := l.out
	if !c.sides[i].opensInPlace() && !dst.opensInPlace() {
		room = l.sealBuffer() // content lies in l.out
	}
	return l.send(c, i, dst.seal(room[:0], content))
}
