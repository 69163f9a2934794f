package catalog

import (
	"context"
	"time"

	"connect-proxy/upstream"
)

const (
	// firstAnswerWait is how long a target that has not answered yet keeps those
	// after it from being looked at: longer than a question to another datacenter
	// takes, and short of what a connection waits for.
	firstAnswerWait = 2 * time.Second
	// unreachable is how long the agent must fail on one target while it
	// answers for the rest until what was known of that target counts for less
	// than what is known of those after it: a datacenter that is gone can say
	// nothing of its instances.
	unreachable = 15 * time.Second
	// keepWatching is how long a target that is not needed any more goes on being
	// watched, so that a service that comes and goes does not start it each time.
	keepWatching = time.Minute
)

// targetWatch is what is known of one target of a chain, which is asked for as
// long as the chain has need of it. It is guarded by the chain's mu, but for its
// watches.
type targetWatch struct {
	question
	service  setWatch
	gateways *setWatch // nil where instances are dialled directly
	started  time.Time
	// unneeded is since when neither the target nor one after it is wanted; zero
	// while one is.
	unneeded time.Time
	// asked is, for each of the watches, how many questions had been put when a
	// connection last had the agent asked anew.
	asked [2]uint64
}

// watchTarget has q asked for from now on.
func (c *Catalog) watchTarget(q question, poll time.Duration, u *usage, notify func()) *targetWatch {
	t := &targetWatch{question: q, started: time.Now(), service: c.watchService(q, u, notify)}
	if q.gateway != "" {
		g := c.watchGateways(q.gateway, q.datacenter, poll, u, notify)
		t.gateways = &g
	}
	return t
}

func (t *targetWatch) close() {
	t.service.Close()
	if t.gateways != nil {
		t.gateways.Close()
	}
}

// refresh has the agent asked for the target soon.
func (t *targetWatch) refresh() {
	t.asked[0] = t.service.refresh()
	if t.gateways != nil {
		t.asked[1] = t.gateways.refresh()
	}
}

// confirm waits for the answers to what refresh had asked, or to the first
// questions there are.
func (t *targetWatch) confirm(ctx context.Context) {
	t.service.confirmSince(ctx, t.asked[0])
	if t.gateways != nil {
		t.gateways.confirmSince(ctx, t.asked[1])
	}
}

// set is what is to be dialled; ok is false while that is not known.
func (t *targetWatch) set() (s upstream.Set, ok bool) {
	s, ok = t.service.Set()
	if !ok || t.gateways == nil || len(s.Endpoints) == 0 {
		return s, ok
	}
	gateways, ok := t.gateways.Set()
	if !ok {
		return upstream.Set{}, false
	}
	return throughGateways(gateways, s), true
}

// status is that of the question that does worse.
func (t *targetWatch) status() upstream.ResolverStatus {
	s := t.service.Status()
	if t.gateways != nil && s.Err == nil {
		if g := t.gateways.Status(); g.Err != nil || !g.Has {
			return g
		}
	}
	return s
}

// targetState says what a target is good for.
type targetState int

const (
	targetHealthy  targetState = iota // it has instances
	targetDoubted                     // it had, but the agent has failed on it for long
	targetAwaited                     // it has not answered yet, and still may
	targetUnusable                    // it has none, or cannot be asked
)

// assessment is what is known of a target at a moment.
type assessment struct {
	set   upstream.Set
	known bool // there is a set
	state targetState
	// until is when time alone makes it another one; zero for never.
	until time.Time
}

func (t *targetWatch) assess(now time.Time) assessment {
	a := assessment{state: targetUnusable}
	a.set, a.known = t.set()
	status := t.status()
	switch {
	case a.known && len(a.set.Endpoints) > 0 && status.Err != nil:
		a.state, a.until = targetHealthy, status.Failing.Add(unreachable)
		if !now.Before(a.until) {
			a.state, a.until = targetDoubted, time.Time{}
		}
	case a.known && len(a.set.Endpoints) > 0:
		a.state = targetHealthy
	case !a.known && status.Err == nil && now.Before(t.started.Add(firstAnswerWait)):
		a.state, a.until = targetAwaited, t.started.Add(firstAnswerWait)
	}
	return a
}
