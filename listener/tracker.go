package listener

import "sync"

// tracker is the set of a Listener's connections: a map from identity to an
// intrusive list, so that neither adding nor moving a connection allocates, and
// a policy change costs one look at each identity. Unfinished handshakes, and
// everybody on a plain listener, are listed under the empty identity.
type tracker struct {
	mu sync.Mutex
	// byPeer holds the first connection of each list.
	byPeer map[string]*conn
	live   int
	// handshakes are those that hold a slot of MaxHandshakes, authorizations
	// those that have proven an identity and are being authorized, connections
	// is how many hold a slot of MaxConnections, shared those of them that share it by
	// their addresses, overLimit how many have found none or had to give it up, and
	// evicted how many have lost their slot to others and have not ended.
	handshakes     handshakes
	authorizations fairQueue
	connections    int
	shared         fairQueue
	overLimit      uint64
	evicted        int
	evictions      evictionLog
	// ending is set once everything is to end: what is added later ends too.
	ending *connError
	// complete means that nothing is added any more; empty is closed when then
	// nothing is left.
	complete bool
	empty    chan struct{}
	// slotFree is signalled when a handshake's slot gets free while someone
	// waits for that.
	slotFree chan struct{}
	waiting  bool
}

func newTracker(watchEvictions func()) *tracker {
	return &tracker{
		evictions:  evictionLog{watch: watchEvictions},
		byPeer:     make(map[string]*conn),
		handshakes: newHandshakes(),
		empty:      make(chan struct{}),
		slotFree:   make(chan struct{}, 1),
	}
}

// add takes in a connection that was accepted or is to be dialled. An error
// refuses it; it is in the set all the same, until remove, unless that is
// errNotOpen.
func (t *tracker) add(c *conn, o *settings) *connError {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.complete {
		return errNotOpen
	}
	t.live++
	t.link(c)
	if t.ending != nil {
		c.closing = t.ending
		return c.closing
	}
	if o.MaxConnections > 0 && t.connections >= o.MaxConnections && t.wayFor(c) == nil {
		t.overLimit++
		return errTooMany
	}
	if !o.begins() {
		t.connections++
		c.slot = slotConnection
	}
	return nil
}

// setPhase moves a connection to its next phase. An error is why it is to end
// instead; what p owns is the caller's to close then.
func (t *tracker) setPhase(c *conn, p phase) *connError {
	t.mu.Lock()
	defer t.mu.Unlock()
	if c.closing == nil {
		c.phase = p
	}
	return c.closing
}

// closing is why a connection was ended from outside, or nil.
func (t *tracker) closing(c *conn) *connError {
	t.mu.Lock()
	defer t.mu.Unlock()
	return c.closing
}

// remove takes a connection out; it has ended.
func (t *tracker) remove(c *conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.freeSlot(c)
	t.unlink(c)
	t.live--
	t.finish()
}

// isEnding reports whether every connection is to end.
func (t *tracker) isEnding() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.ending != nil
}

// noMoreConns says that nothing is added from now on.
func (t *tracker) noMoreConns() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.complete = true
	t.finish()
}

func (t *tracker) count() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.live
}

func (t *tracker) pending() (handshakes, authorizations int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.handshakes.len(), t.authorizations.n
}

func (t *tracker) refusedOverLimit() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.overLimit
}

func (t *tracker) peers() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := make([]string, 0, len(t.byPeer))
	for peer := range t.byPeer {
		if peer != "" {
			all = append(all, peer)
		}
	}
	return all
}

// The rest is called with mu held.

func (t *tracker) link(c *conn) {
	head := t.byPeer[c.peer]
	c.prev, c.next = nil, head
	if head != nil {
		head.prev = c
		c.peer = head.peer // one string for all connections of an identity
	}
	t.byPeer[c.peer] = c
}

func (t *tracker) unlink(c *conn) {
	if c.next != nil {
		c.next.prev = c.prev
	}
	switch {
	case c.prev != nil:
		c.prev.next = c.next
	case c.next != nil:
		t.byPeer[c.peer] = c.next
	default:
		delete(t.byPeer, c.peer)
	}
	c.prev, c.next = nil, nil
}

// finish closes empty when nothing is left.
func (t *tracker) finish() {
	if t.complete && t.live == 0 {
		select {
		case <-t.empty:
		default:
			close(t.empty)
		}
	}
}
