package relay

import (
	"sync"

	"connect-proxy/listener/secure"
)

// starterRoom is how much a starter reads at a time at most.
const starterRoom = 32 << 10

// starters are loops without a goroutine or descriptors of their own. In one of
// them a connection has its first turn, on the goroutine that hands it over: the
// first request of a client goes with the last flight of our handshake, in one
// packet, and what came with the last flight of a client's goes on at once. Else
// a loop would have to be woken for it.
var starters = sync.Pool{New: func() any {
	return &eventLoop{
		in: make([]byte, starterRoom), out: make([]byte, 0, secure.Sealed(starterRoom)),
		limit: 1 << 62, timers: make(map[*conn]struct{}), unacked: make(map[*conn]struct{}),
	}
}}

// begin gives c its first turn, if there is something to be done, and adds it to
// the loop.
func (l *eventLoop) begin(c *conn) {
	s := starters.Get().(*eventLoop)
	defer starters.Put(s)
	for i := range c.sides {
		if c.flows[i].early || c.sides[i].unopened {
			s.serve(c)
			break
		}
	}
	if c.queued {
		s.ready.pop().queued = false
	}
	s.releaseSlot(c)
	if !c.ended && !l.add(c) {
		s.end(c, Closed, nil)
	}
	s.callBack()
}
