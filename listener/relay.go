package listener

import (
	"errors"
	"time"

	"connect-proxy/listener/relay"
	"connect-proxy/listener/secure"
)

// handOver gives both sides to the relay. From then on an idle connection is
// what the relay and the tracker keep of it, and no goroutine. It reports false
// if the connection was cut before.
func (c *conn) handOver() bool {
	client, upstream, ok := c.l.conns.yield(c)
	if !ok {
		return false
	}
	c.relayed, c.relayedAt = true, time.Now()
	if !c.opened {
		c.opened = true
		c.o.Observer.ConnOpened(c.open())
	}
	o := relay.Options{
		IdleTimeout:      c.o.IdleTimeout,
		MaxLifetime:      c.o.MaxLifetime,
		HalfCloseTimeout: c.o.HalfCloseTimeout,
		First:            c.unsent,
	}
	if c.target.Next != nil {
		o.Replay = replayMost
	}
	c.unsent = nil
	c.handing.Lock()
	defer c.handing.Unlock()
	r := c.l.relay.Start(client, upstream, o, c.end)
	if !c.l.conns.relaying(c, r) {
		r.Close() // cut while both sides changed hands
	}
	return true
}

// reasonOfEnd says in this package's words how a relay ended.
func reasonOfEnd(r relay.Result) Reason {
	switch r.End {
	case relay.Clean:
		return ReasonClosed
	case relay.ClientReset:
		return broken(stageClient, r.Err, ReasonClientReset)
	case relay.UpstreamReset:
		return broken(stageUpstream, r.Err, ReasonUpstreamReset)
	case relay.Idle:
		return ReasonIdleTimeout
	case relay.Lifetime:
		return ReasonMaxLifetime
	case relay.HalfClose:
		return ReasonHalfCloseTimeout
	}
	return ReasonShutdown // the engine was closed under its connections
}

// broken is the reason of a side that broke off; an error that would be an
// orderly end elsewhere, such as none, is not one here.
func broken(at stage, err error, reset Reason) Reason {
	r := reasonOf(at, err)
	if r == ReasonClosed || r == ReasonIdleTimeout || errors.Is(err, secure.ErrTruncated) {
		return reset
	}
	return r
}
