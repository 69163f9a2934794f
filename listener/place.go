package listener

import "time"

// place is what a connection counts as.
type place uint8

const (
	placeNone place = iota
	placeStranger
	placeJudged
	placeAdmitted
	placeLeaving
)

// seat gives a connection that was added a place among the strangers, if need
// be in the place of others, which the caller ends. It reports false if c should
// wait for a slot.
func (t *tracker) seat(c *conn, max int, now time.Time) (cut []severed, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.waiting = false
	if t.strangers.len() <= max/2 {
		t.strangers.rest()
	}
	for t.strangers.len() >= max && t.cutting == ReasonUnknown {
		var v *conn
		if t.leaving < max { // what they hold is theirs until they have ended
			v = t.strangers.victim(now)
		}
		if v == nil {
			t.waiting = true
			return cut, false
		}
		t.evictions.note(v.source)
		cut = t.evict(v, ReasonHandshakeEvicted, cut)
	}
	t.strangers.add(c, now)
	c.place = placeStranger
	return cut, true
}

// evicted gives who was evicted since it was asked last, and how many strangers
// there are.
func (t *tracker) evicted() (e evictions, held int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.evictions.take(), t.strangers.len()
}

// waited notes that a connection was kept waiting for its seat.
func (t *tracker) waited(d time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.strangers.waited(d)
}

// spoke notes that a connection's client has sent its first byte.
func (t *tracker) spoke(c *conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if c.place == placeStranger {
		t.strangers.spoke(c, time.Now())
	}
}

// identify moves a connection to its identity's list and away from the
// strangers: none of those can end it any more. Where more than max wait to be
// authorized, the latest of the identity with most of them ends.
func (t *tracker) identify(c *conn, s Session, max int) {
	t.mu.Lock()
	t.unlink(c)
	c.client, c.peer, c.resumed = s.Conn, s.Peer, s.Resumed
	t.link(c)
	var cut []severed
	if c.place == placeStranger {
		t.strangers.proved(t.waiting)
		t.leave(c)
		t.judged.join(party{peer: c.peer}, c)
		c.place = placeJudged
	}
	for t.judged.n > max {
		cut = t.evict(t.judged.most().last, ReasonLimit, cut)
	}
	t.mu.Unlock()
	end(cut)
}

// admit exchanges the place among those who are authorized for one among the
// connections.
func (t *tracker) admit(c *conn, max int) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if c.place == placeAdmitted {
		return nil
	}
	t.leave(c)
	if max > 0 && t.admitted >= max {
		return errConnections
	}
	t.admitted++
	c.place = placeAdmitted
	return nil
}

// The rest is called with mu held.

// evict takes a connection's place from it.
func (t *tracker) evict(c *conn, r Reason, cut []severed) []severed {
	t.leave(c)
	c.place = placeLeaving
	t.leaving++
	return c.sever(r, cut)
}

// leave gives back the place that a connection holds.
func (t *tracker) leave(c *conn) {
	switch c.place {
	case placeStranger:
		t.strangers.remove(c)
		t.wake()
	case placeJudged:
		t.judged.leave(c)
	case placeAdmitted:
		t.admitted--
	case placeLeaving:
		t.leaving--
		t.wake()
	}
	c.place = placeNone
}

// wake signals that a place may be free.
func (t *tracker) wake() {
	if !t.waiting {
		return
	}
	t.waiting = false
	select {
	case t.slot <- struct{}{}:
	default: // a token that was not waited for long enough
	}
}
