package listener

import "time"

// slot is which of the limits a connection counts against.
type slot uint8

const (
	slotNone slot = iota
	slotHandshake
	slotAuthorization
	slotConnection
	// slotEvicted is a connection that had to give way and has not ended.
	slotEvicted
)

// startHandshake gives a connection that was added a slot among the unfinished
// handshakes, if need be in the place of others, which the caller aborts. It
// reports false if c should wait for slotFree.
func (t *tracker) startHandshake(c *conn, max int, now time.Time) (evicted []phase, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.waiting = false
	if t.handshakes.len() <= max/2 {
		t.handshakes.quiet()
	}
	for t.handshakes.len() >= max && t.ending == nil {
		var v *conn
		if t.evicted < max { // what they hold is theirs until they have ended
			v = t.handshakes.victim(now)
		}
		if v == nil {
			t.waiting = true
			return evicted, false
		}
		t.evictions.count(v.source)
		evicted = t.evict(v, errEvicted, evicted)
	}
	t.handshakes.add(c, now)
	c.slot = slotHandshake
	return evicted, true
}

// takeEvictions returns who was evicted since it was called last, and how many
// handshakes are unfinished.
func (t *tracker) takeEvictions() (e evictionLog, unfinished int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.evictions.take(), t.handshakes.len()
}

// waited notes that a connection was kept waiting for its slot.
func (t *tracker) waited(d time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.handshakes.waited(d)
}

// spoke notes that a connection's client has sent its first byte.
func (t *tracker) spoke(c *conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if c.slot == slotHandshake {
		t.handshakes.spoke(c, time.Now())
	}
}

// identify moves a connection to its identity's list and away from the
// unfinished handshakes: none of those can end it any more. Where more than max
// wait to be authorized, the latest of the identity with most of them ends. One that
// is to end itself takes nobody's place.
func (t *tracker) identify(c *conn, p phase, s SessionInfo, max int) *connError {
	t.mu.Lock()
	t.unlink(c)
	c.peer = s.Peer
	t.link(c)
	c.session = s
	c.session.Peer = c.peer // link has made it the string of all of them
	var evicted []phase
	if c.closing == nil {
		c.phase = p
	}
	if c.closing == nil && c.slot == slotHandshake {
		t.handshakes.proved(t.waiting)
		t.freeSlot(c)
		t.authorizations.join(owner{peer: c.peer}, c)
		c.slot = slotAuthorization
	}
	for t.authorizations.n > max {
		evicted = t.evict(t.authorizations.most().last, errUndecided, evicted)
	}
	err := c.closing
	t.mu.Unlock()
	abortAll(evicted)
	return err
}

// admit exchanges the slot among those who are authorized for one among the
// connections, if need be in the place of another. One that is to end has no use for
// it.
func (t *tracker) admit(c *conn, max int) *connError {
	t.mu.Lock()
	if err := c.closing; err != nil {
		t.mu.Unlock()
		return err
	}
	if c.slot == slotConnection {
		t.mu.Unlock()
		return nil
	}
	t.freeSlot(c)
	var evicted []phase
	if max > 0 && t.connections >= max {
		v := t.wayFor(c)
		if v == nil {
			t.overLimit++
			t.mu.Unlock()
			return errTooMany
		}
		t.overLimit++
		evicted = t.evict(v, errGaveWay, evicted)
	}
	t.connections++
	c.slot = slotConnection
	if c.o.FairConnections {
		c.since = time.Now()
		t.shared.join(owner{source: c.source}, c)
	}
	t.mu.Unlock()
	abortAll(evicted)
	return nil
}

// The rest is called with mu held.

// evict takes a connection's slot from it.
func (t *tracker) evict(c *conn, why *connError, evicted []phase) []phase {
	t.freeSlot(c)
	c.slot = slotEvicted
	t.evicted++
	if p, ok := c.phase.(*hosting); ok && c.closing == nil {
		p.orderly = !c.idleSince().IsZero()
	}
	return c.close(why, evicted)
}

// wayFor is the connection that gives way to c where there are as many as there may
// be, or nil where none does, or those that had to before have not ended. It is one of
// the address that has most: where that has two more than c's, the first that is idle,
// or else the oldest; where it has one more, the two addresses only change places, and
// so none gives way but one that is idle.
func (t *tracker) wayFor(c *conn) *conn {
	l, own := t.shared.most(), t.shared.count(owner{source: c.source})
	switch {
	case !c.o.FairConnections || l == nil || l.n <= own || t.evicted >= c.o.MaxHandshakes:
		return nil
	case l.n == own+1:
		return t.longestIdle(time.Now())
	}
	v, looks := l.first, 0
	for ; v != nil && looks < maxLooks; v, looks = v.behind, looks+1 {
		if !v.idleSince().IsZero() {
			return v
		}
	}
	return l.first
}

// longestIdle is a connection that is idle of the addresses that have most, or nil.
// Nobody says when one begins or ends to be idle, so that their order is made right
// while it is looked through: who is found to have been busy later than was known goes
// to the place that this time gives it. What maxLooks leaves out is looked at for the
// next newcomer.
func (t *tracker) longestIdle(now time.Time) (idle *conn) {
	var since time.Time
	for range maxLooks {
		v := t.shared.most().first
		s := v.idleSince()
		if s.IsZero() {
			t.shared.requeue(v, now)
			continue
		}
		if idle == nil || s.Before(since) {
			idle, since = v, s
		}
		if !s.After(v.since) {
			break // nor has any of the others been idle for longer
		}
		t.shared.requeue(v, s)
	}
	return idle
}

// freeSlot gives back the slot that a connection holds.
func (t *tracker) freeSlot(c *conn) {
	switch c.slot {
	case slotHandshake:
		t.handshakes.remove(c)
		t.wake()
	case slotAuthorization:
		t.authorizations.leave(c)
	case slotConnection:
		t.connections--
		if c.queue != nil {
			t.shared.leave(c)
		}
	case slotEvicted:
		t.evicted--
		t.wake()
	}
	c.slot = slotNone
}

// wake signals that a slot may be free.
func (t *tracker) wake() {
	if !t.waiting {
		return
	}
	t.waiting = false
	select {
	case t.slotFree <- struct{}{}:
	default: // a token that was not waited for long enough
	}
}
