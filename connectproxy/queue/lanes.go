package queue

import (
	"container/list"
	"context"
	"sync"
	"time"
)

const (
	// MaxConnections is the most connections to the agent.
	MaxConnections = 3
	// maxTurns is how many questions that do not wait for a change are under
	// way at a time.
	maxTurns = 2
	// patience is how long a question may take before others that could have its
	// connection do not wait for that any longer: what the agent answers within a
	// moment takes turns on one, since the questions of a proxy at rest come
	// together.
	patience = 50 * time.Millisecond
)

// lane is a kind of question. The first goes before the others.
type lane int

const (
	// local is what the agent answers by itself.
	local lane = iota
	// held waits for a change.
	held
	// server is what the agent asks its servers about.
	server
	// remote may lead to another datacenter.
	remote
	lanes // how many there are
)

// admission decides which question is next. The zero value is ready for use.
type admission struct {
	mu      sync.Mutex // guards what follows
	running [lanes]int
	// lingering counts the connections that were given up and that the agent
	// may go on holding.
	lingering int
	waiting   [lanes]list.List // of chan struct{}, closed when it is their turn
	// alone is since when one question that does not wait for a change is under
	// way without having had another beside it; zero where that is not so.
	alone time.Time
	// scheduled is set while a call of dispatch is due for the end of patience.
	scheduled bool
}

// acquire waits until a question of the lane may be put. Every acquire without an
// error needs a release.
func (a *admission) acquire(ctx context.Context, l lane) error {
	a.mu.Lock()
	if a.waiting[l].Len() == 0 && a.fits(l) {
		a.begin(l)
		a.mu.Unlock()
		return nil
	}
	turn := make(chan struct{})
	e := a.waiting[l].PushBack(turn)
	a.scheduleDispatch()
	a.mu.Unlock()
	select {
	case <-turn:
		return nil
	case <-ctx.Done():
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	select {
	case <-turn: // it came at the same moment
		a.end(l)
		a.dispatch()
	default:
		a.waiting[l].Remove(e)
	}
	return ctx.Err()
}

// release ends a question. Its connection counts for lingers longer.
func (a *admission) release(l lane, lingers time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.end(l)
	if lingers > 0 {
		a.lingering++
		time.AfterFunc(lingers, a.lingerEnded)
	}
	a.dispatch()
}

func (a *admission) lingerEnded() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.lingering--
	a.dispatch()
}

// turns counts the questions under way that do not wait for a change. The caller
// holds mu.
func (a *admission) turns() int { return a.running[local] + a.running[server] + a.running[remote] }

// begin counts a question that is let through. The caller holds mu.
func (a *admission) begin(l lane) {
	a.running[l]++
	switch {
	case l == held:
	case a.turns() == 1:
		a.alone = time.Now()
	default:
		a.alone = time.Time{}
	}
}

// end counts one that is over. The caller holds mu.
func (a *admission) end(l lane) {
	a.running[l]--
	if l != held {
		a.alone = time.Time{} // what is left has had another beside it
	}
}

// scheduleDispatch has dispatch called when the question under way has taken
// long. The caller holds mu.
func (a *admission) scheduleDispatch() {
	if a.alone.IsZero() || a.scheduled {
		return
	}
	a.scheduled = true
	time.AfterFunc(patience-time.Since(a.alone), func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.scheduled = false
		a.dispatch()
	})
}

// dispatch lets through whoever may go. The caller holds mu.
func (a *admission) dispatch() {
	for l := range lanes {
		for a.waiting[l].Len() > 0 && a.fits(l) {
			a.begin(l)
			close(a.waiting[l].Remove(a.waiting[l].Front()).(chan struct{}))
		}
	}
	for l := range lanes {
		if a.waiting[l].Len() > 0 {
			a.scheduleDispatch()
			return
		}
	}
}

// fits reports whether one more question of the lane may be put. The caller holds
// mu.
func (a *admission) fits(l lane) bool {
	turns := a.turns()
	if turns+a.running[held]+a.lingering >= MaxConnections {
		return false
	}
	if l != held && !a.alone.IsZero() && time.Since(a.alone) < patience {
		return false
	}
	switch l {
	case held:
		return a.running[held] == 0 && a.lingering < MaxConnections-1
	case local:
		return turns < maxTurns
	}
	return turns < maxTurns && a.running[l] == 0
}
