package listener

import "time"

const (
	// grace is how long a client is safe from giving way after it has connected,
	// and again after its first byte.
	grace = time.Second
	// minGrace is the same when the waiting budget is used up.
	minGrace = 100 * time.Millisecond
	// maxWaiting is how long newcomers are kept waiting for a slot, and with
	// them all those behind them in the kernel's queue, while nobody is overdue.
	maxWaiting = 250 * time.Millisecond
	// waitingEarned is what each proven identity brings back of it.
	waitingEarned = 2 * time.Millisecond
	// maxLooks bounds the sockets looked at for one newcomer.
	maxLooks = 64
)

// handshakes are the connections whose clients have not proven an identity yet.
// Where there are too many, one gives way to each that comes: of those that are
// overdue, one that has sent nothing before one that has begun its handshake,
// then one of the address that has most, then the oldest.
//
// A crowd of honest clients frees its slots by itself. That is worth waiting
// for, so nobody is evicted while others succeed and no one is overdue; clients
// who fill every slot and prove nothing use the budget for that up, once. Then
// the older half counts as overdue: however fast such clients come, a handshake
// of the newer half is left alone.
//
// A client whose bytes wait to be read is not late, this process is. It is safe
// as long as that is so.
type handshakes struct {
	silent, spoken cohort
	// waiting is how much longer newcomers may be kept waiting.
	waiting time.Duration
	// unread reports whether a client's bytes wait to be read.
	unread func(c *conn) bool
}

// cohort is unfinished handshakes in the same state.
type cohort struct {
	fresh   fifo // the oldest first
	overdue fairQueue
}

func newHandshakes() handshakes {
	return handshakes{
		waiting: maxWaiting,
		unread: func(c *conn) bool {
			p, ok := c.phase.(handshaking)
			return ok && readable(p.raw)
		},
	}
}

func (h *handshakes) len() int {
	return h.silent.fresh.n + h.silent.overdue.n + h.spoken.fresh.n + h.spoken.overdue.n
}

// add takes in a client that has just connected.
func (h *handshakes) add(c *conn, now time.Time) { h.begin(c, now) }

// spoke notes the first byte of a client.
func (h *handshakes) spoke(c *conn, now time.Time) {
	h.remove(c)
	c.spoken = true
	h.begin(c, now)
}

// begin begins c's grace.
func (h *handshakes) begin(c *conn, now time.Time) {
	c.since = now
	h.cohortOf(c).fresh.join(c)
}

func (h *handshakes) remove(c *conn) {
	k := h.cohortOf(c)
	if c.queue != nil {
		k.overdue.leave(c)
	} else {
		k.fresh.leave(c)
	}
}

func (h *handshakes) cohortOf(c *conn) *cohort {
	if c.spoken {
		return &h.spoken
	}
	return &h.silent
}

// quiet notes that there is no crowd.
func (h *handshakes) quiet() { h.waiting = maxWaiting }

// proved notes that a client has proven its identity, and whether a newcomer is
// waiting for the slot that so gets free.
func (h *handshakes) proved(awaited bool) {
	h.waiting = min(h.waiting+waitingEarned, maxWaiting)
	if awaited {
		h.waiting = maxWaiting
	}
}

// waited notes that a newcomer was kept waiting.
func (h *handshakes) waited(d time.Duration) { h.waiting = max(0, h.waiting-d) }

// victim is who gives way to a newcomer, or nil if that should wait. The caller
// removes it.
func (h *handshakes) victim(now time.Time) *conn {
	for range maxLooks {
		c := h.candidate(now)
		if c == nil || !h.unread(c) {
			return c
		}
		h.remove(c)
		h.begin(c, now)
	}
	return nil
}

// candidate is the first to give way of those that are overdue.
func (h *handshakes) candidate(now time.Time) *conn {
	h.silent.age(now)
	h.spoken.age(now)
	l := h.most()
	if h.silent.overdue.crowded() || h.spoken.overdue.crowded() {
		return l.first
	}
	half := false
	if h.waiting == 0 {
		half = h.hurry(now)
		if m := h.most(); l == nil || m.n > 1 && m.owner != l.owner {
			l = m
		}
	}
	switch {
	case l == nil:
		return nil
	case l.n == 1 && !half && now.Sub(l.first.since) < grace:
		// It is overdue only where nobody can wait, and where those have gone who came
		// before the newer half: of an address that comes in bursts, all at once.
		return nil
	}
	return l.first
}

// most is the queue of the address whose clients give way first of those that are
// overdue. It is nil if there is none.
func (h *handshakes) most() *ownerQueue {
	if l := h.silent.overdue.most(); l != nil {
		return l
	}
	return h.spoken.overdue.most()
}

// hurry makes the older half overdue, as far as minGrace allows, and reports whether it
// is. It is asked to before the only client of an address gives way: of an address that
// fills the slots, all that were overdue may have gone already.
func (h *handshakes) hurry(now time.Time) bool {
	for range (h.len()+1)/2 - h.silent.overdue.n - h.spoken.overdue.n {
		k := &h.silent
		if a, b := k.fresh.first, h.spoken.fresh.first; a == nil || b != nil && b.since.Before(a.since) {
			k = &h.spoken
		}
		if now.Sub(k.fresh.first.since) < minGrace {
			return false
		}
		k.expire()
	}
	return true
}

// age makes those overdue whose grace is over.
func (k *cohort) age(now time.Time) {
	for k.fresh.n > 0 && now.Sub(k.fresh.first.since) >= grace {
		k.expire()
	}
}

// expire makes the oldest overdue.
func (k *cohort) expire() {
	c := k.fresh.first
	k.fresh.leave(c)
	k.overdue.join(owner{source: c.source}, c)
}
