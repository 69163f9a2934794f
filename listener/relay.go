package listener

import (
	"errors"
	"net"
	"time"

	"connect-proxy/listener/relay"
	"connect-proxy/listener/secure"
)

// startRelay gives both sides to the relay. From then on an idle connection is
// what the relay and the tracker keep of it, and no goroutine.
func (c *conn) startRelay(client net.Conn, unsent []byte) *connError {
	if c.bytes == nil {
		c.bytes = c.countedIn().Part()
	}
	if err := c.l.conns.setPhase(c, handingOver{}); err != nil {
		return err
	}
	upstream := c.target.Conn
	c.target.Conn = nil
	c.relayed, c.relayedAt = true, time.Now()
	if !c.opened {
		c.opened = true
		c.o.Observer.ConnOpened(c.open())
	}
	o := relay.Options{
		IdleTimeout:      c.o.IdleTimeout,
		MaxLifetime:      c.o.MaxLifetime,
		HalfCloseTimeout: c.o.HalfCloseTimeout,
		First:            unsent,
		Counters:         c.bytes,
	}
	if c.target.Next != nil {
		o.Replay = maxReplay
	}
	c.starting.Lock()
	defer c.starting.Unlock()
	r := c.l.relay.Start(client, upstream, o, c.ended)
	if c.l.conns.setPhase(c, relaying{r}) != nil {
		r.Close() // it was to end while both sides changed hands
	}
	return nil
}

// ended is called by the relay when both sides are closed.
func (c *conn) ended(r relay.Result) {
	if r.End == relay.Refused && c.redial(r) {
		return
	}
	err := endOfRelay(r)
	if closing := c.l.conns.closing(c); closing != nil {
		err = closing
	}
	c.finish(r, err)
}

// endOfRelay is how a relay ended, in this package's terms.
func endOfRelay(r relay.Result) *connError {
	switch r.End {
	case relay.Clean:
		return &connError{ReasonClosed, r.Err}
	case relay.ClientReset:
		return &connError{brokenOff(stageClient, r.Err, ReasonClientReset), r.Err}
	case relay.UpstreamReset:
		return &connError{brokenOff(stageUpstream, r.Err, ReasonUpstreamReset), r.Err}
	case relay.Idle:
		return &connError{ReasonIdleTimeout, r.Err}
	case relay.Lifetime:
		return &connError{ReasonMaxLifetime, r.Err}
	case relay.HalfClose:
		return &connError{ReasonHalfCloseTimeout, r.Err}
	}
	return &connError{ReasonShutdown, r.Err} // the engine was closed under its connections
}

// brokenOff is the reason of a side that broke off; an error that would be an
// orderly end elsewhere, such as none, is not one here.
func brokenOff(at stage, err error, reset Reason) Reason {
	r := reasonOf(at, err)
	if r == ReasonClosed || r == ReasonIdleTimeout || errors.Is(err, secure.ErrTruncated) {
		return reset
	}
	return r
}

// countedIn is what counts the connection's bytes with those of others, or nil.
func (c *conn) countedIn() *relay.Counters {
	if c.o.Counters == nil {
		return nil
	}
	return c.o.Counters(c.open())
}
