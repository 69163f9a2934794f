package listener

import (
	"net"
	"sync"

	"connect-proxy/listener/relay"
)

// tracker is the set of a Listener's connections: a map from identity to an
// intrusive list, so that neither adding nor moving a connection allocates, and
// a policy change costs one look at each identity. Strangers, and everybody on
// a plain listener, stand under the empty identity.
type tracker struct {
	mu sync.Mutex
	// byPeer holds the first connection of each list.
	byPeer map[string]*conn
	live   int
	// strangers are those that hold a place of MaxHandshakes, admitted is how
	// many hold one of MaxConnections.
	strangers strangers
	admitted  int
	// judged are those that have proven an identity and are being authorized.
	judged fairQueue
	// leaving is how many have lost their place to others and have not ended.
	leaving   int
	evictions evictions
	// cutting is set once everything is to end: what is added later ends too.
	cutting Reason
	// sealed means that nothing is added any more; empty is closed when then
	// nothing is left.
	sealed bool
	empty  chan struct{}
	// slot is signalled when a stranger's place gets free while someone waits
	// for that.
	slot    chan struct{}
	waiting bool
}

func newTracker() *tracker {
	return &tracker{
		byPeer:    make(map[string]*conn),
		strangers: newStrangers(),
		evictions: newEvictions(),
		empty:     make(chan struct{}),
		slot:      make(chan struct{}, 1),
	}
}

// add takes in a connection that was accepted. An error refuses it, mostly for
// a limit; it is in the set all the same, until remove.
func (t *tracker) add(c *conn, o *settings) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.live++
	t.link(c)
	if t.cutting != ReasonUnknown {
		c.cause = t.cutting
		return errEnding
	}
	if o.MaxConnections > 0 && t.admitted >= o.MaxConnections {
		return errConnections
	}
	if o.Handshake == nil {
		t.admitted++
		c.place = placeAdmitted
	}
	return nil
}

// attach notes the far side, for cut to close it too.
func (t *tracker) attach(c *conn, target Target) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c.target = target
}

// yield takes both sides out of the reach of cut, for the relay, which may not
// be disturbed while it takes them over. It reports false if the connection was
// cut before.
func (t *tracker) yield(c *conn) (client, upstream net.Conn, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if c.cause != ReasonUnknown {
		return nil, nil, false
	}
	client, upstream = c.client, c.target.Conn
	c.raw, c.client, c.target.Conn = nil, nil, nil
	return client, upstream, true
}

// relaying notes what cut ends from now on. It reports false if the connection
// was cut since it yielded.
func (t *tracker) relaying(c *conn, r *relay.Relay) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	c.relay = r
	return c.cause == ReasonUnknown
}

// reclaim is yield the other way round: the client's side is the connection's
// own again. It reports false if the connection was cut.
func (t *tracker) reclaim(c *conn, client net.Conn) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	c.raw, c.client, c.relay = client, client, nil
	return c.cause == ReasonUnknown
}

// remove takes a connection out; it has ended.
func (t *tracker) remove(c *conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.leave(c)
	t.unlink(c)
	t.live--
	t.finish()
}

// cause is why a connection was cut from outside, or ReasonUnknown.
func (t *tracker) cause(c *conn) Reason {
	t.mu.Lock()
	defer t.mu.Unlock()
	return c.cause
}

// ending reports whether every connection is being cut.
func (t *tracker) ending() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.cutting != ReasonUnknown
}

// seal says that nothing is added from now on.
func (t *tracker) seal() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sealed = true
	t.finish()
}

func (t *tracker) count() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.live
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

func (t *tracker) finish() {
	if t.sealed && t.live == 0 {
		select {
		case <-t.empty:
		default:
			close(t.empty)
		}
	}
}
