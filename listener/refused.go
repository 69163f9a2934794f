package listener

import (
	"context"
	"time"

	"connect-proxy/listener/relay"
	"connect-proxy/listener/secure"
)

const (
	// replayMost is how much of what a client has sent is kept, until its far
	// side sends something, for another in case of a refusal.
	replayMost = 64 << 10
	// atOnce is how soon a far side that ends a connection without a byte is
	// taken for one whose application is down.
	atOnce = time.Second
)

// refuser is a connection that can be refused in words; *secure.Conn is one.
type refuser interface {
	Refuse(why secure.Refusal) error
}

// turnAway ends a client that gets no connection: one that has shaken hands is
// told why, so that it can go to another instance, and every other one gets a
// reset, since a dial that failed must not look like an answer that was empty.
func (c *conn) turnAway(reason Reason) {
	r, ok := c.client.(refuser)
	if !ok {
		abort(c.client)
		return
	}
	why := secure.RefusedService
	if reason == ReasonDenied || reason == ReasonIntentionRevoked {
		why = secure.RefusedAccess
	}
	_ = r.Refuse(why)
}

// resume begins a connection anew that the far side has refused, on a goroutine
// of its own. It reports false if the connection was cut meanwhile.
func (c *conn) resume(r relay.Result) bool {
	c.handing.Lock() // until what handed it over has done so
	defer c.handing.Unlock()
	c.relayed, c.refusal, c.unsent = false, r.Err, r.Undelivered.Sent
	if !c.l.conns.reclaim(c, r.Undelivered.Client) {
		abort(r.Undelivered.Client)
		return false
	}
	c.l.crew.climb(c)
	return true
}

// dialNext opens another far side than the one that has refused.
func (c *conn) dialNext(ctx context.Context) (Target, error) {
	why, _ := secure.RefusalOf(c.refusal)
	return c.target.Next(ctx, why, c.refusal)
}

// settle tells the far side's owner that the connection has ended.
func (c *conn) settle(r relay.Result) {
	t := c.target
	switch {
	case t.Failed != nil && c.relayed && r.UpstreamFirst && r.ToClient == 0 && time.Since(c.relayedAt) < atOnce:
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
