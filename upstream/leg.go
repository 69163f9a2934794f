package upstream

import (
	"context"
	"sync"
	"time"

	"connect-proxy/connectproxy/watch"
)

const (
	// patience is how long a target that has not answered yet keeps those after
	// it from being looked at: longer than a question to another datacenter
	// takes, and short of what a connection waits for.
	patience = 2 * time.Second
	// unreachable is how long the agent must fail on one target while it
	// answers for the rest until what was known of that target counts for less
	// than what is known of those after it: a datacenter that is gone can say
	// nothing of its instances.
	unreachable = 15 * time.Second
)

// leg is the question of one target, asked for as long as a chain has need of
// the answer. But for its watches it belongs to the chain's goroutine.
type leg struct {
	service  watched
	gateways *watched // nil where instances are dialled directly
	cancel   context.CancelFunc
	started  time.Time
	// needed is when the target, or one after it, was last wanted.
	needed time.Time
}

// run asks until ctx is done.
func (l *leg) run(ctx context.Context) {
	var all sync.WaitGroup
	defer all.Wait()
	if l.gateways != nil {
		all.Go(func() { _ = l.gateways.Run(ctx) })
	}
	_ = l.service.Run(ctx)
}

func (l *leg) watches() []watched {
	if l.gateways == nil {
		return []watched{l.service}
	}
	return []watched{l.service, *l.gateways}
}

// confirm has the agent asked for the target, and waits for the answer.
func (l *leg) confirm(ctx context.Context) {
	for _, r := range l.watches() {
		r.confirm(ctx)
	}
}

// set is what is to be dialled; ok is false while that is not known.
func (l *leg) set() (s Set, ok bool) {
	s, ok = l.service.Set()
	if !ok || l.gateways == nil || len(s.Endpoints) == 0 {
		return s, ok
	}
	gateways, ok := l.gateways.Set()
	if !ok {
		return Set{}, false
	}
	return throughGateways(gateways, s), true
}

// Status is that of the question that does worse.
func (l *leg) Status() watch.Status {
	s := l.service.Status()
	if l.gateways != nil && s.Err == nil {
		if g := l.gateways.Status(); g.Err != nil || !g.Has {
			return g
		}
	}
	return s
}

// state says what a target is good for.
type state int

const (
	healthy state = iota // it has instances
	doubted              // it had, but the agent has failed on it for long
	waiting              // it has not answered yet, and still may
	useless              // it has none, or cannot be asked
)

// judge gives the set with its state; known is false where there is none yet.
func (l *leg) judge(now time.Time) (s Set, known bool, _ state) {
	s, known = l.set()
	status := l.Status()
	switch {
	case known && len(s.Endpoints) > 0 && status.Err != nil && now.Sub(status.Failing) > unreachable:
		return s, known, doubted
	case known && len(s.Endpoints) > 0:
		return s, known, healthy
	case !known && status.Err == nil && now.Sub(l.started) < patience:
		return s, known, waiting
	}
	return s, known, useless
}
