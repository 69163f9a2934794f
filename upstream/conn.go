package upstream

import (
	"context"
	"net"
	"sync/atomic"
	"time"
)

// provenAfter is how long a connection lasts until an instance that had taken
// connections and ended them at once is believed again.
const provenAfter = time.Second

// Conn is a connection to an instance. It counts until one of Release, Answered,
// Failed and Next is called, each of which says that it has ended and none of which
// closes it; what comes after the first does nothing. They are safe for
// concurrent use.
type Conn struct {
	net.Conn
	// Endpoint is the instance.
	Endpoint Endpoint

	u      *Upstream
	in     *instance
	start  int64 // when the instance was picked
	probe  bool
	ended  atomic.Bool
	proven *time.Timer // set while the instance is in doubt

	// What follows is empty unless other instances were tried before.
	excluded excluded
	attempts []Attempt
}

// Attempts is how many instances were dialled for the connection, this one among
// them.
func (c *Conn) Attempts() int { return len(c.attempts) + 1 }

// Release says that the connection has ended.
func (c *Conn) Release() {
	if c.end(false) {
		c.u.live.Add(-1)
	}
}

// Answered says that the connection has ended and that the instance had sent
// something: if it was in doubt it is believed again, however soon that was.
func (c *Conn) Answered() {
	if c.end(true) {
		c.u.live.Add(-1)
	}
}

// Failed says that the instance ended the connection shortly after it had taken
// it, with err and without having sent anything: its application may be down.
// It counts as a failure of the instance.
func (c *Conn) Failed(err error) {
	if c.end(false) {
		c.u.live.Add(-1)
		c.u.failedLater(c.claim(), err)
	}
}

// Next says that the instance refused the connection with err before anything
// was delivered, which counts as its failure, and connects to one that has not
// been tried for this connection, within what is left of ConnectTimeout. Errors
// are Dial's; without an instance left it is a *DialError.
func (c *Conn) Next(ctx context.Context, err error) (*Conn, error) {
	u := c.u
	o := u.options.Load()
	if c.end(false) {
		u.failedLater(c.claim(), err)
	} else {
		u.live.Add(1)
	}
	timeout := u.timeout(o)
	ctx, cancel := context.WithTimeout(ctx, timeout-time.Duration(u.now()-c.began()))
	defer cancel()
	s := search{u: u, o: o, timeout: timeout, not: c.excluded, attempts: c.attempts}
	if len(s.not) == 0 {
		s.not = excluded{c.in}
	}
	s.attempts = append(s.attempts, Attempt{
		Instance: c.Endpoint.ID, Address: c.Endpoint.Address, Err: err, Duration: time.Duration(u.now() - c.start),
	})
	next, err := s.next(ctx)
	if err != nil {
		u.live.Add(-1)
	}
	return next, err
}

// began is when the first instance was picked.
func (c *Conn) began() int64 {
	at := c.start
	for _, a := range c.attempts {
		at -= int64(a.Duration)
	}
	return at
}

// end takes the connection out of the instance's count, once.
func (c *Conn) end(answered bool) bool {
	if !c.ended.CompareAndSwap(false, true) {
		return false
	}
	c.in.live.Add(-1)
	if c.proven == nil || !c.proven.Stop() {
		return true
	}
	switch {
	case answered:
		c.prove()
	case c.probe:
		c.in.probing.Store(false) // nothing was learnt
	}
	return true
}

// prove has the instance believed.
func (c *Conn) prove() { c.u.succeeded(c.claim()) }

func (c *Conn) claim() claim {
	return claim{instanceSlot: &instanceSlot{instance: c.in, ep: c.Endpoint}, probe: c.probe, start: c.start}
}
