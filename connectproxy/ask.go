package connectproxy

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/hashicorp/consul/api"

	"connect-proxy/connectproxy/watch"
	"connect-proxy/listener"
)

const (
	// maxAsks is how many questions the agent is asked at a time.
	maxAsks = 4
	// minAskRetry and maxAskRetry bound the wait after a question that failed,
	// for each identity.
	minAskRetry = 250 * time.Millisecond
	maxAskRetry = 5 * time.Second
	// troubleEvery is how often failing questions are logged while it lasts.
	troubleEvery = time.Minute
)

var errBusy = errors.New("too many identities wait for a decision")

// askFunc asks the agent about one identity.
type askFunc func(ctx context.Context, p *api.AgentAuthorizeParams) (*api.AgentAuthorize, error)

// askAgent asks by consul/api, which takes no context here: when ctx is done a
// question in flight is left to its own end.
func askAgent(c *api.Client) askFunc {
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

// enqueue has the agent asked about d. The caller holds mu.
func (a *authorizer) enqueue(d *decision, now time.Time) {
	select {
	case a.asks <- d:
		d.asking, d.asked = make(chan struct{}), now
	default:
		d.err = errBusy
	}
}

// answer puts queued questions to the agent until ctx is done.
func (a *authorizer) answer(ctx context.Context) error {
	for {
		select {
		case d := <-a.asks:
			a.decide(ctx, d)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// decide asks the agent about d once, notes what it says, and ends d's
// connections where that is no.
func (a *authorizer) decide(ctx context.Context, d *decision) {
	a.mu.RLock()
	p := &api.AgentAuthorizeParams{Target: a.o.Service, ClientCertURI: d.uri, ClientCertSerial: d.serial}
	a.mu.RUnlock()
	// Both before asking: the answer may be older than what changes meanwhile.
	v := &verdict{generation: a.generation.Load(), at: time.Now()}
	got, err := a.ask(ctx, p)
	if err == nil {
		v.reason = got.Reason
		if !got.Authorized {
			v.err = &listener.Denied{Reason: got.Reason}
		}
	} else {
		err = watch.Explain(needs(err, "service:write", a.o.Service))
	}
	old := a.note(d, v, err)
	a.report(ctx, d, old, v, err)
	if err == nil && v.err != nil {
		a.cut(d.uri)
	}
}

// note keeps a verdict, or the error in its place, and wakes who waits for it.
// It returns the verdict before.
func (a *authorizer) note(d *decision, v *verdict, err error) *verdict {
	a.mu.Lock()
	defer a.mu.Unlock()
	old := d.verdict.Load()
	d.err = err
	if err != nil {
		d.failures++
		bound := min(minAskRetry<<min(d.failures-1, 10), maxAskRetry)
		d.retryAt = time.Now().Add(bound/2 + rand.N(bound/2))
	} else {
		d.failures, d.retryAt = 0, time.Time{}
		d.verdict.Store(v)
	}
	close(d.asking)
	d.asking = nil
	return old
}

// report logs what nobody else would: questions that fail, whoever waits for
// their answer, and decisions that turned.
func (a *authorizer) report(ctx context.Context, d *decision, old, v *verdict, err error) {
	if ctx.Err() != nil {
		return
	}
	a.mu.Lock()
	was, loud := a.trouble, false
	a.trouble = err
	if err != nil && time.Since(a.troubled) >= troubleEvery {
		a.troubled, loud = time.Now(), true
	}
	a.mu.Unlock()
	switch {
	case loud:
		a.o.Logger.Warn("agent cannot be asked who may call", "peer", d.uri, "error", err)
	case err != nil:
	case was != nil:
		a.o.Logger.Info("agent can be asked again who may call", "peer", d.uri)
	}
	if err == nil && old != nil && (old.err == nil) != (v.err == nil) {
		a.o.Logger.Info("authorization changed", "peer", d.uri, "allowed", v.err == nil, "reason", v.reason)
	}
}

// cut ends the open connections of an identity that has been denied.
func (a *authorizer) cut(uri string) {
	a.mu.RLock()
	live := a.live
	a.mu.RUnlock()
	for _, l := range live {
		l.ClosePeers(func(peer string) bool { return peer == uri }, listener.ReasonIntentionRevoked)
	}
}
