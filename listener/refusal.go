package listener

import (
	"context"
	"net"
	"time"

	"connect-proxy/listener/relay"
	"connect-proxy/listener/secure"
)

const (
	// maxReplay is how many bytes of what a client has sent are kept, until its
	// far side sends something, for another in case of a refusal.
	maxReplay = 64 << 10
	// endedAtOnce is how soon a far side that ends a connection without a byte
	// is taken for one whose application is down.
	endedAtOnce = time.Second
)

// refuser is a connection that can be refused with a reason; *secure.Conn is one.
type refuser interface {
	Refuse(why secure.Refusal) error
}

// turnAway ends a client that gets no connection: one whose handshake is done is
// told why, so that it can go to another instance, and every other one gets a
// reset, since a dial that failed must not look like an answer that was empty.
func turnAway(client net.Conn, reason Reason) {
	r, ok := client.(refuser)
	if !ok {
		secure.Abort(client)
		return
	}
	why := secure.RefusedService
	if reason == ReasonDenied || reason == ReasonIntentionRevoked {
		why = secure.RefusedAccess
	}
	_ = r.Refuse(why)
}

// redial connects a client again whose far side has refused the connection, on a
// goroutine of its own. It reports false if the connection is to end.
func (c *conn) redial(r relay.Result) bool {
	c.starting.Lock() // until what handed it over has done so
	defer c.starting.Unlock()
	c.relayed = false
	client, unsent := r.Undelivered.Client, r.Undelivered.Sent
	if c.l.conns.closing(c) != nil {
		secure.Abort(client)
		return false
	}
	why, _ := secure.RefusalOf(r.Err)
	next := func(ctx context.Context) (Target, error) {
		refused := c.target
		c.target = Target{} // no longer ours to release
		return refused.Next(ctx, why, r.Err)
	}
	c.l.workers.run(func(ctx context.Context) { c.connect(ctx, client, next, unsent) })
	return true
}

// reportEnd tells the far side's owner that the connection has ended.
func (c *conn) reportEnd(r relay.Result) {
	t := c.target
	switch {
	case t.Failed != nil && c.relayed && r.UpstreamFirst && r.ToClient == 0 && time.Since(c.relayedAt) < endedAtOnce:
		err := r.Err
		if err == nil {
			err = errEndedAtOnce
		}
		t.Failed(err)
	case t.Answered != nil && r.ToClient > 0:
		t.Answered()
	case t.Release != nil:
		t.Release()
	}
}
