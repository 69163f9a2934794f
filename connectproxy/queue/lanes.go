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
}

// enter waits until a question of the lane may be put. Every enter without an
// error needs a leave.
func (a *admission) enter(ctx context.Context, l lane) error {
	a.mu.Lock()
	if a.waiting[l].Len() == 0 && a.fits(l) {
		a.running[l]++
		a.mu.Unlock()
		return nil
	}
	turn := make(chan struct{})
	e := a.waiting[l].PushBack(turn)
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
		a.running[l]--
		a.dispatch()
	default:
		a.waiting[l].Remove(e)
	}
	return ctx.Err()
}

// leave ends a question. Its connection counts for lingers longer.
func (a *admission) leave(l lane, lingers time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.running[l]--
	if lingers > 0 {
		a.lingering++
		time.AfterFunc(lingers, a.forget)
	}
	a.dispatch()
}

func (a *admission) forget() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.lingering--
	a.dispatch()
}

// dispatch lets through whoever may go. The caller holds mu.
func (a *admission) dispatch() {
	for l := range lanes {
		for a.waiting[l].Len() > 0 && a.fits(l) {
			a.running[l]++
			close(a.waiting[l].Remove(a.waiting[l].Front()).(chan struct{}))
		}
	}
}

// fits says whether one more question of the lane may be put. The caller holds
// mu.
func (a *admission) fits(l lane) bool {
	turns := a.running[local] + a.running[server] + a.running[remote]
	if turns+a.running[held]+a.lingering >= MaxConnections {
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
