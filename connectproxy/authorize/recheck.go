package authorize

import (
	"context"
	"time"

	"connect-proxy/upstream/watch"
)

// Decisions that have grown old are looked for every restInterval, which is well
// within what lies between refreshAfter and decisionLife, and every
// refreshInterval while one is asked for again or intentions are not watched.
const (
	refreshInterval = time.Second
	restInterval    = 6 * time.Second
)

// recheckDelays are the times after a change of the intentions, one after the
// other, at which decisions are asked for again. The agent answers from a cache
// that learns of the change by a query of its own, maybe after this proxy has
// learned of it.
var recheckDelays = [...]time.Duration{300 * time.Millisecond, 700 * time.Millisecond}

// distrustAfterOutage is for how long after the intentions could not be watched
// decisions are asked for as if they still could not. The agent judges by a copy
// of its own, which it renews after failures with waits of up to two minutes:
// until then its answers are those of before.
const distrustAfterOutage = 2*time.Minute + unwatchedRefresh

// recheck has decisions asked for again when the intentions change and when they have
// grown old. changed was taken before the watch began.
func (a *Authorizer) recheck(ctx context.Context, changed <-chan struct{}) error {
	tick := time.NewTimer(restInterval)
	defer tick.Stop()
	again := time.NewTimer(0)
	defer again.Stop()
	again.Stop()
	left := recheckDelays[:0]
	var failed time.Time // when the watch was last seen to fail that had worked
	for {
		s, now := a.match.Status(), time.Now()
		if s.Has && s.Err != nil {
			failed = now
		}
		a.unwatched.Store(!s.Has || !failed.IsZero() && now.Sub(failed) < distrustAfterOutage)
		interval := restInterval
		if a.refreshDue(now) || a.unwatched.Load() {
			interval = refreshInterval
		}
		tick.Reset(watch.Coalesce(interval))
		select {
		case <-a.failing:
			continue
		case <-changed:
			// Taken anew only now, lest a change be missed that comes together with
			// something else.
			changed = a.match.Changed()
			left = recheckDelays[:]
		case <-again.C:
		case <-tick.C:
			continue
		case <-ctx.Done():
			return ctx.Err()
		}
		a.generation.Add(1)
		if len(left) > 0 {
			again.Reset(left[0])
			left = left[1:]
		}
	}
}

// refreshDue asks again about the identities in use whose decision is due, and
// forgets those that nobody has used for so long that their decision could not
// be used either. It reports whether it asked, or is to ask again soon.
func (a *Authorizer) refreshDue(now time.Time) (soon bool) {
	a.mu.RLock()
	peers := a.peers
	a.mu.RUnlock()
	connected := make(map[string]bool)
	for _, p := range peers {
		for _, uri := range p.Peers() {
			connected[uri] = true
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for uri := range connected {
		a.add(uri)
	}
	for uri, c := range a.callers {
		if c.pending != nil {
			soon = true
			continue
		}
		switch d := c.decision.Load(); {
		case a.needsRefresh(c, d, connected[uri], now):
			soon = true
			if !now.Before(c.retryAt) {
				a.enqueue(c, now)
			}
		case !connected[uri] && now.Sub(epoch.Add(time.Duration(c.lastUsed.Load()))) > a.o.MaxStale:
			delete(a.callers, uri)
		}
	}
	return soon
}

// needsRefresh reports whether a decision is in use and to be asked for again.
func (a *Authorizer) needsRefresh(c *caller, d *decision, connected bool, now time.Time) bool {
	if d == nil {
		return connected
	}
	if connected && d.generation != a.generation.Load() {
		return true
	}
	after := refreshAfter
	if a.unwatched.Load() {
		after = unwatchedRefresh
	}
	used := epoch.Add(time.Duration(c.lastUsed.Load()))
	return (connected || used.After(d.at)) && now.Sub(d.at) >= after
}
