package relay

import (
	"io"
	"time"

	"golang.org/x/sys/unix"

	"connect-proxy/listener/secure"
)

// conn is a connection that a loop serves: sides[0] is the client, sides[1] the
// upstream, and flows[i] goes from sides[i] to the other.
type conn struct {
	loop    *loop
	slot    int
	gen     uint32 // of the slot
	options Options
	done    func(Result)

	sides [2]side
	flows [2]flow

	started, moved time.Time // kept only while the connection is timed
	half           bool      // one direction has ended
	queued         bool      // is in loop.ready, and
	next           *conn     // who is behind it there
	load           int       // what its turns have cost lately
	looks          int       // for how many more sweeps it is in loop.watched
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
	fd                 int
	tls                *secure.Records // nil: plain
	readable, writable bool
	failed             bool   // the kernel has an error to tell
	hungUp             bool   // the peer's FIN has come: the end is to be read
	err                error  // what a first system call brought, for the loop to find
	watching           bool   // for room to write
	more               bool   // what is written is followed by the close
	partial            []byte // the beginning of a record whose rest is to come
	behind             bool   // partial holds whole records, left for another turn
}

// flow is one direction.
type flow struct {
	pending []byte // made but not yet taken by the receiver
	hold    []byte // the buffer that pending lies in
	batch   int    // bytes to read at a time
	ended   bool   // the sender has ended it
	told    bool   // the receiver is being told
	passed  bool   // the receiver has been told
	count   int64  // application bytes handed to the receiver's kernel
	// owed is how many of the pending bytes' application bytes are not in count
	// yet: they are counted when the last of them is taken.
	owed int64
}

// note keeps what the kernel reported.
func (c *conn) note(i int, bits uint32) {
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

func (c *conn) due(now time.Time) (time.Duration, End) {
	return c.options.due(now.Sub(c.started), c.moved.Sub(c.started), c.half)
}

var ends = [2]End{ClientReset, UpstreamReset}

// serve moves what can be moved, both ways, for one turn each, and returns what
// that has cost.
func (l *loop) serve(c *conn) (cost int) {
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
	if !c.ended && c.flows[0].passed && c.flows[1].passed {
		l.end(c, c.broken, c.cause) // Clean is the zero value
	}
	return cost
}

// failed ends a connection of which a side broke off. If it was writing that
// found it, the side may have sent something before: its answer to a request
// that it would not read to the end, say. That is delivered first.
func (l *loop) failed(c *conn, e *sideError) {
	if l.refused(c, e) {
		return
	}
	if e.writing && c.cause == nil {
		c.broken, c.cause = ends[e.side], e.err
		f := &c.flows[1-e.side]
		l.release(f)
		f.ended, f.told, f.passed = true, true, true
		c.sides[e.side].readable = true
		l.halfClosed(c)
		l.again(c)
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
func (l *loop) pump(c *conn, i int) (cost int, _ *sideError) {
	f, src := &c.flows[i], &c.sides[i]
	for turn := l.turn(); ; {
		pending := len(f.pending)
		blocked, err := l.flush(c, i)
		cost += max(0, pending-len(f.pending))
		if blocked || err != nil {
			return cost, err
		}
		if f.ended {
			return cost, l.passEnd(c, i)
		}
		if !src.readable && !src.behind {
			return cost, nil
		}
		if cost >= turn {
			l.again(c)
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
func (l *loop) move(c *conn, i, most int) (cost int, _ *sideError) {
	f, src := &c.flows[i], &c.sides[i]
	have := copy(l.in, src.partial)
	n, eof, err := l.read(f, src, have)
	if err != nil {
		return 0, &sideError{side: i, err: err}
	}
	cost = n + callCost
	content := l.in[:have+n]
	if src.tls != nil {
		var spent int
		content, spent, err = l.open(c, i, content, most)
		cost += spent
		if err == io.EOF {
			l.ended(c, f)
		} else if err == nil && eof {
			err = secure.ErrTruncated
		}
	} else if eof {
		l.ended(c, f)
	}
	if len(l.timed) > 0 && len(content) > 0 {
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
		// What looks like an end is what is left of the break.
		return cost, &sideError{side: i, err: c.cause}
	}
	return cost, nil
}

// open opens records that have come from sides[i] until they have cost most, and
// keeps what is left. It returns their content and what the records have cost
// beyond their bytes.
func (l *loop) open(c *conn, i int, sealed []byte, most int) (content []byte, cost int, err error) {
	src := &c.sides[i]
	content = l.out[:0]
	rest := sealed
	for updates := src.tls.KeyUpdates(); err == nil && cost < most; {
		records, length := whole(rest, recordsAtOnce)
		if records == 0 {
			length = len(rest) // Open judges a header by itself
		}
		var used int
		content, used, err = src.tls.Open(content, rest[:length])
		rest = rest[used:]
		cost += records*recordCost + (src.tls.KeyUpdates()-updates)*updateCost
		updates = src.tls.KeyUpdates()
		if used == 0 {
			break
		}
	}
	complete, _ := whole(rest, 1)
	src.behind = err == nil && complete > 0
	l.keep(src, rest)
	if werr := l.answer(c, 1-i); werr != nil && err == nil {
		err = werr.err
	}
	return content, cost, err
}

// answer sends the key update that the receiver of flows[i] has asked for. Where
// something is pending it waits until that is taken: a peer that asks on and on
// and reads nothing must not make us hold an answer for each time.
func (l *loop) answer(c *conn, i int) *sideError {
	f, dst := &c.flows[i], &c.sides[1-i]
	if dst.tls == nil || !dst.tls.Owes() || f.told || len(f.pending) > 0 {
		return nil
	}
	var room [secure.Overhead * 4]byte
	return l.send(c, i, dst.tls.Seal(room[:0], nil))
}

// offer hands content to the receiver of flows[i], sealed if it speaks TLS.
func (l *loop) offer(c *conn, i int, content []byte) *sideError {
	f, dst := &c.flows[i], &c.sides[1-i]
	f.owed = int64(len(content))
	if dst.tls != nil {
		room := l.out
		if c.sides[i].tls != nil {
			room = l.second() // content lies in l.out
		}
		content = dst.tls.Seal(room[:0], content)
	}
	return l.send(c, i, content)
}
