package relay

import (
	"encoding/binary"
	"runtime"

	"golang.org/x/sys/unix"
)

// A turn is what one connection may move in one direction before the loop looks
// for events again. It is counted in bytes, and what costs time without moving
// bytes is charged as if it did.
const (
	// fullTurn is a turn while only busy connections want to be served, and
	// shortTurn one for as many turns of theirs, attention, as follow the last of
	// a quick connection.
	fullTurn  = maxBatch
	shortTurn = 32 << 10
	attention = 128
	// busyFrom is the cost of a turn, on average, that makes a connection a busy
	// one. All others are quick.
	busyFrom = 16 << 10

	// callCost stands for the system calls of reading and writing once,
	// recordCost for opening a record and updateCost for deriving new keys, ours
	// included if the peer asked for that.
	callCost   = 4 << 10
	recordCost = 256
	updateCost = 8 << 10
	// recordsAtOnce is how many records are opened before their cost is known.
	recordsAtOnce = 16

	// yieldAfter is how much busy connections may move without a pause before
	// the loop offers its processor to other threads, if a quick one may wait
	// for them.
	yieldAfter = 128 << 10
)

// line is a queue of connections, linked through themselves.
type line struct{ first, last *conn }

func (q *line) push(c *conn) {
	if q.last == nil {
		q.first = c
	} else {
		q.last.next = c
	}
	q.last = c
}

// pop takes the first out; there must be one.
func (q *line) pop() *conn {
	c := q.first
	if q.first = c.next; q.first == nil {
		q.last = nil
	}
	c.next = nil
	return c
}

// again gives c another turn after those that wait already.
func (l *loop) again(c *conn) {
	if !c.queued {
		c.queued = true
		l.ready.push(c)
	}
}

// busy reports whether c moved much in its last turns.
func (c *conn) busy() bool { return c.load >= busyFrom }

// charge keeps what a turn has cost. Connections at which there was nothing to
// do are neither.
func (c *conn) charge(cost int) {
	if cost > 0 {
		c.load += (cost - c.load) / 8
	}
}

// turn is how long the next turn may be.
func (l *loop) turn() int {
	if l.attentive() {
		return shortTurn
	}
	return fullTurn
}

// attentive reports whether a quick connection was served lately, and so may
// have something to say again soon.
func (l *loop) attentive() bool { return l.sinceQuick < attention }

// serveEvents serves the quick ones of the connections at which something
// happened and puts the busy ones in line. It returns what that has cost.
func (l *loop) serveEvents(events []event) (cost int) {
	for _, e := range events {
		e.c.note(e.side, e.bits)
		if e.c.busy() {
			l.again(e.c)
		}
	}
	for _, e := range events {
		if e.c.queued {
			continue
		}
		if spent := l.serve(e.c); spent > 0 {
			cost += spent
			l.sinceQuick = 0
		}
	}
	return cost
}

// serveReady gives the first in line its turn, and further ones until they have
// cost as much as quick connections did: however many of these there are, they
// do not take everything.
func (l *loop) serveReady(quick int) {
	for spent := 0; l.ready.first != nil && (spent == 0 || spent < quick); {
		c := l.ready.pop()
		c.queued = false
		cost := max(1, l.serve(c))
		spent += cost
		l.unbroken += cost
		l.sinceQuick = min(l.sinceQuick+1, attention)
	}
	if l.unbroken >= yieldAfter && l.attentive() {
		l.unbroken = 0
		yield()
	}
}

// yield lets other threads and goroutines run. The loop of a busy proxy is
// runnable nearly always: the kernel would let it go on for some milliseconds
// while whoever is to answer a quick connection, on this machine, waits.
func yield() {
	_, _, _ = unix.Syscall(unix.SYS_SCHED_YIELD, 0, 0, 0)
	runtime.Gosched()
}

// recordHeader is the length of a TLS record's header, of which the last two
// bytes are the length of what follows (RFC 8446 5.1).
const recordHeader = 5

// whole returns how many complete records b begins with, at most so many, and
// how long they are.
func whole(b []byte, most int) (records, length int) {
	for records < most && len(b)-length >= recordHeader {
		end := length + recordHeader + int(binary.BigEndian.Uint16(b[length+recordHeader-2:]))
		if end > len(b) {
			break
		}
		records, length = records+1, end
	}
	return records, length
}
