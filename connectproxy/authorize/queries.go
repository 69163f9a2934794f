package authorize

import (
	"context"
	"errors"
	"time"

	"github.com/hashicorp/consul/api"

	"connect-proxy/listener"
	"connect-proxy/upstream/watch"
)

const (
	// maxQueries is how many questions the agent is asked at a time.
	maxQueries = 4
	// warnInterval is how often failing questions are logged while it lasts.
	warnInterval = time.Minute
)

var errBusy = errors.New("too many identities wait for a decision")

// queryFunc asks the agent about one identity.
type queryFunc func(ctx context.Context, p *api.AgentAuthorizeParams) (*api.AgentAuthorize, error)

// queryAgent asks by consul/api, which takes no context here: when ctx is done a
// question in flight is left to its own end.
func queryAgent(c *api.Client) queryFunc {
	type answer struct {
		a   *api.AgentAuthorize
		err error
	}
	return func(ctx context.Context, p *api.AgentAuthorizeParams) (*api.AgentAuthorize, error) {
		done := make(chan answer, 1)
		go func() {
			a, err := c.Agent().ConnectAuthorize(p)
			done <- answer{a, err}
		}()
		select {
		case got := <-done:
			return got.a, got.err
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// enqueue has the agent asked about c. The lock must be held.
func (a *Authorizer) enqueue(c *caller, now time.Time) {
	select {
	case a.queue <- c:
		c.pending, c.queried = make(chan struct{}), now
	default:
		c.err = errBusy
	}
}

// serveQueue puts queued questions to the agent until ctx is done.
func (a *Authorizer) serveQueue(ctx context.Context) error {
	for {
		select {
		case c := <-a.queue:
			a.resolve(ctx, c)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// resolve asks the agent about c once, records its answer, and closes c's
// connections where that is no.
func (a *Authorizer) resolve(ctx context.Context, c *caller) {
	a.mu.RLock()
	p := &api.AgentAuthorizeParams{Target: a.o.Service, ClientCertURI: c.uri, ClientCertSerial: c.serial}
	a.mu.RUnlock()
	// Both are read before the question: the answer may be older than what
	// changes meanwhile.
	d := &decision{generation: a.generation.Load(), at: time.Now()}
	got, err := a.query(ctx, p)
	if err == nil {
		d.reason = got.Reason
		if !got.Authorized {
			d.err = &listener.Denied{Reason: got.Reason}
		}
	} else {
		err = watch.Explain(watch.Needs(err, "service:write", a.o.Service))
	}
	old := a.record(c, d, err)
	a.logOutcome(ctx, c, old, d, err)
	if err == nil && d.err != nil {
		a.closeRevoked(c.uri)
	}
}

// logOutcome logs what nobody else would: questions that fail, whoever waits for
// their answer, and decisions that have changed.
func (a *Authorizer) logOutcome(ctx context.Context, c *caller, old, d *decision, err error) {
	if ctx.Err() != nil {
		return
	}
	a.mu.Lock()
	before, warn := a.lastErr, false
	a.lastErr = err
	if err != nil && time.Since(a.warned) >= warnInterval {
		a.warned, warn = time.Now(), true
	}
	a.mu.Unlock()
	switch {
	case warn:
		a.o.Logger.Warn("agent cannot be asked who may call", "peer", c.uri, "error", err)
	case err != nil:
	case before != nil:
		a.o.Logger.Info("agent can be asked again who may call", "peer", c.uri)
	}
	if err == nil && old != nil && (old.err == nil) != (d.err == nil) {
		a.o.Logger.Info("authorization changed", "peer", c.uri, "allowed", d.err == nil, "reason", d.reason)
	}
}

// closeRevoked closes the open connections of an identity that has been denied.
func (a *Authorizer) closeRevoked(uri string) {
	a.mu.RLock()
	peers := a.peers
	a.mu.RUnlock()
	for _, p := range peers {
		p.ClosePeers(func(peer string) bool { return peer == uri }, listener.ReasonIntentionRevoked)
	}
}
