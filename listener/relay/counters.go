package relay

import "sync/atomic"

// Counters count the application's bytes of all connections that are started
// with them, while these are open: the zero value is ready for use, they never
// go down, and any number of connections and readers may share them.
//
// A connection adds to them after each of its turns, and for the last time
// before its callback, so that its part is then what Result says. What may have
// to be sent once more (Options.Replay) is added when it no longer may.
type Counters struct {
	toUpstream, toClient atomic.Int64
	whole                *Counters // what this is a part of; may be nil
}

// Part returns Counters of their own, all of whose bytes c counts too. A nil c
// has parts as well.
func (c *Counters) Part() *Counters { return &Counters{whole: c} }

// ToUpstream is how many bytes were handed to the kernel for the upstreams.
func (c *Counters) ToUpstream() int64 { return c.toUpstream.Load() }

// ToClient is how many bytes were handed to the kernel for the clients.
func (c *Counters) ToClient() int64 { return c.toClient.Load() }

// Add counts bytes of a connection that no Engine serves.
func (c *Counters) Add(toUpstream, toClient int64) {
	c.add(0, toUpstream)
	c.add(1, toClient)
}

// add counts bytes from the client (side 0) or the upstream. A nil c counts
// nothing.
func (c *Counters) add(side int, n int64) {
	switch {
	case c == nil || n == 0:
	case side == 0:
		c.toUpstream.Add(n)
		c.whole.add(side, n)
	default:
		c.toClient.Add(n)
		c.whole.add(side, n)
	}
}
