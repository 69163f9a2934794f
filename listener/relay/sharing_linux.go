package relay

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// A turn is what one connection may move in one direction before the loop looks
// for events again. It is counted in bytes, and what costs time without moving
// bytes is charged as if it did.
const (
	// quickTurn is a turn in a quick loop and busyTurn one in a busy loop.
	quickTurn = 32 << 10
	busyTurn  = maxBatch
	// busyFrom is the cost of a turn, on average, that makes a connection a busy
	// one, and quickBelow what makes it a quick one again.
	busyFrom   = 16 << 10
	quickBelow = busyFrom / 2

	// callCost stands for the system calls of reading and writing once,
	// recordCost for opening a record and updateCost for deriving new keys, ours
	// included if the peer asked for that.
	callCost   = 4 << 10
	recordCost = 256
	updateCost = 8 << 10
	// recordsAtOnce is how many records are opened before their cost is known.
	recordsAtOnce = 16

	// yieldAfter is how much a busy loop may move without a pause before it
	// offers its processor to other threads, unless the quick loop has had
	// nothing to do for attentionTurns.
	yieldAfter     = 256 << 10
	attentionTurns = 128
)

// charge keeps what a turn has cost. Connections at which there was nothing to
// do are neither busy nor quick by it.
func (c *conn) charge(cost int) {
	if cost > 0 {
		c.load += (cost - c.load) / 8
	}
}

// turn is how long a turn may be.
func (l *eventLoop) turn() int {
	if l.busy {
		return busyTurn
	}
	return quickTurn
}

// belongsToOther reports whether c belongs to the other loop.
func (l *eventLoop) belongsToOther(c *conn) bool {
	if l.busy {
		return c.load < l.limit
	}
	return c.load >= l.limit
}

// attentive reports whether the other loop had something to do lately.
func (l *eventLoop) attentive() bool {
	if n := l.other.served.Load(); n != l.seen {
		l.seen, l.since = n, 0
	}
	l.since = min(l.since+1, attentionTurns)
	return l.busy && l.since < attentionTurns
}

// yield lets other threads and goroutines run. A busy loop is runnable nearly
// always: the kernel would let it go on for a millisecond and more while whoever
// is to answer a quick connection, on this machine, waits.
func yield() {
	_, _, _ = unix.Syscall(unix.SYS_SCHED_YIELD, 0, 0, 0)
	runtime.Gosched()
}
