package authorize

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"connect-proxy/listener"
	"connect-proxy/upstream/backoff"
)

const (
	// decisionLife is how long a decision is used without another question; those
	// in use are asked for again before, after refreshAfter. It is for what shows
	// in no intention: a change of the default policy.
	decisionLife = time.Minute
	refreshAfter = 45 * time.Second
	// unwatchedLife and unwatchedRefresh are the same where intentions cannot be
	// watched.
	unwatchedLife    = 5 * time.Second
	unwatchedRefresh = 8 * time.Second

	// staleWait is how long a connection waits for the agent's answer where a
	// former decision is at hand.
	staleWait = time.Second

	// maxCallers bounds the identities remembered, some 500 bytes each.
	maxCallers = 4096

	// maxRetry bounds the wait after a question that failed, for each identity.
	maxRetry = 5 * time.Second
)

// caller is what is known about one identity.
type caller struct {
	uri      string
	decision atomic.Pointer[decision]
	// lastUsed is when a connection was last judged by it, in nanoseconds after
	// epoch.
	lastUsed atomic.Int64

	// What follows is guarded by the authorizer's mu.

	serial string
	// pending is closed when the question in flight is answered; nil while there
	// is none. queried is when that question was queued.
	pending chan struct{}
	queried time.Time
	retry   backoff.Backoff
	retryAt time.Time // no question before, after one that failed
	err     error     // why the last one failed
}

// decision is an answer of the agent's. It does not change.
type decision struct {
	generation uint64
	at         time.Time // when it was asked for
	err        error     // nil or a *listener.Denied
	reason     string
}

// Origin is where a decision is from.
type Origin string

const (
	// OriginCache is a decision that was made before and still counts.
	OriginCache Origin = "cache"
	// OriginAgent is the agent's answer, or the want of one.
	OriginAgent Origin = "agent"
	// OriginStale is a decision that is out of date, while the agent does not
	// answer.
	OriginStale Origin = "stale"
)

// epoch makes a number of a time without losing its monotonic part.
var epoch = time.Now()

// Reason returns why an identity may or may not call, as the agent said it last;
// "" if nothing is known. It never asks.
func (a *Authorizer) Reason(uri string) string {
	a.mu.RLock()
	c := a.callers[uri]
	a.mu.RUnlock()
	if c == nil {
		return ""
	}
	d := c.decision.Load()
	if d == nil {
		return ""
	}
	return d.reason
}

// caller finds or adds what is known about the session's identity.
func (a *Authorizer) caller(s listener.Session) *caller {
	a.mu.RLock()
	c, ok := a.callers[s.Peer]
	a.mu.RUnlock()
	if ok {
		return c
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	c = a.add(s.Peer)
	c.serial = s.Serial
	return c
}

// add finds or adds a caller. The lock must be held.
func (a *Authorizer) add(uri string) *caller {
	if c, ok := a.callers[uri]; ok {
		return c
	}
	if len(a.callers) >= maxCallers {
		a.evict()
	}
	c := &caller{uri: uri, retry: backoff.Backoff{Max: maxRetry}}
	c.lastUsed.Store(int64(time.Since(epoch)))
	a.callers[uri] = c
	return c
}

// evict forgets the caller that was judged least recently. The lock must be
// held.
func (a *Authorizer) evict() {
	var oldest *caller
	for _, c := range a.callers {
		if c.pending == nil && (oldest == nil || c.lastUsed.Load() < oldest.lastUsed.Load()) {
			oldest = c
		}
	}
	if oldest != nil {
		delete(a.callers, oldest.uri)
	}
}

// usable reports whether a decision can be used as it is.
func (a *Authorizer) usable(d *decision, now time.Time) bool {
	if d == nil || d.generation != a.generation.Load() {
		return false
	}
	life := decisionLife
	if a.unwatched.Load() {
		life = unwatchedLife
	}
	return now.Sub(d.at) < life
}

// awaitDecision has the agent asked about c, or joins those who wait for its
// answer already: connections of one identity share a question.
func (a *Authorizer) awaitDecision(ctx context.Context, c *caller, began time.Time) (Origin, error) {
	for {
		now := time.Now()
		a.mu.Lock()
		d := c.decision.Load()
		if a.usable(d, now) || d != nil && !d.at.Before(began) {
			a.mu.Unlock()
			return OriginAgent, d.err
		}
		if c.pending == nil && !now.Before(c.retryAt) {
			a.enqueue(c, now)
		}
		pending, queried, err := c.pending, c.queried, c.err
		a.mu.Unlock()

		known := d != nil && now.Sub(d.at) <= a.o.MaxStale
		if pending == nil || known && now.Sub(queried) >= staleWait {
			return withoutAnswer(c.uri, d, known, err)
		}
		if answered, err := awaitAnswer(ctx, pending, known, queried.Add(staleWait).Sub(now)); err != nil {
			return OriginAgent, fmt.Errorf("authorizing %s: %w", c.uri, err)
		} else if !answered {
			return OriginStale, d.err
		}
	}
}

// withoutAnswer judges where the agent gives no answer.
func withoutAnswer(uri string, d *decision, known bool, err error) (Origin, error) {
	if known {
		return OriginStale, d.err
	}
	return OriginAgent, fmt.Errorf("authorizing %s: %w", uri, err)
}

// awaitAnswer waits for an answer, and no longer than limit where a former
// decision is known. It reports whether the answer came.
func awaitAnswer(ctx context.Context, pending <-chan struct{}, known bool, limit time.Duration) (bool, error) {
	var over <-chan time.Time
	if known {
		t := time.NewTimer(limit)
		defer t.Stop()
		over = t.C
	}
	select {
	case <-pending:
		return true, nil
	case <-over:
		return false, nil
	case <-ctx.Done():
		return false, ctx.Err()
	}
}

// record keeps a decision, or the error in its place, and wakes those who wait
// for it. It returns the decision before.
func (a *Authorizer) record(c *caller, d *decision, err error) *decision {
	a.mu.Lock()
	defer a.mu.Unlock()
	old := c.decision.Load()
	c.err = err
	if err != nil {
		c.retryAt = time.Now().Add(c.retry.Next())
	} else {
		c.retry.Reset()
		c.retryAt = time.Time{}
		c.decision.Store(d)
	}
	close(c.pending)
	c.pending = nil
	return old
}
