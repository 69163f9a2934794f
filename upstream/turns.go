package upstream

import (
	"container/list"
	"context"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// restPace is how often a resolver asks whose destination is not in use and
	// has not changed for long. It is restShare for each resolver where that is
	// more, so that a thousand of them ask no more than four questions a second.
	restPace  = time.Minute
	restShare = time.Second / 4
	// newPace and newShare are the same just after a start or a change; in
	// between, a resolver asks again when a quarter has been added to the time
	// since then.
	newPace   = 2 * time.Second
	newShare  = time.Second / 8
	restSteps = 4
)

// Turns has the resolvers of one proxy ask one after the other, those in use
// first. Questions that may lead to another datacenter have a line of their
// own, since they may take long. A nil Turns lets everyone ask at once.
type Turns struct {
	resolvers     atomic.Int64
	local, remote line
}

// rest is the time between two questions of a resolver that is not in use and
// has brought nothing new for quiet.
func (t *Turns) rest(quiet time.Duration) time.Duration {
	var all time.Duration = 1
	if t != nil {
		all = time.Duration(t.resolvers.Load())
	}
	return min(max(newPace, all*newShare, quiet/restSteps), max(restPace, all*restShare))
}

// enter waits for a turn, which ends when done is called.
func (t *Turns) enter(ctx context.Context, remote bool, urgent func() bool) (done func(), err error) {
	if t == nil {
		return func() {}, ctx.Err()
	}
	l := &t.local
	if remote {
		l = &t.remote
	}
	if err := l.enter(ctx, urgent); err != nil {
		return nil, err
	}
	return l.leave, nil
}

// line lets one through at a time.
type line struct {
	mu      sync.Mutex // guards what follows
	busy    bool
	waiting list.List // of *waiter
}

type waiter struct {
	turn   chan struct{} // closed when it is the waiter's
	urgent func() bool
}

func (l *line) enter(ctx context.Context, urgent func() bool) error {
	l.mu.Lock()
	if !l.busy {
		l.busy = true
		l.mu.Unlock()
		return nil
	}
	w := &waiter{make(chan struct{}), urgent}
	e := l.waiting.PushBack(w)
	l.mu.Unlock()
	select {
	case <-w.turn:
		return nil
	case <-ctx.Done():
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-w.turn: // it came at the same moment
		l.next()
	default:
		l.waiting.Remove(e)
	}
	return ctx.Err()
}

func (l *line) leave() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.next()
}

// next lets through the first of those that are urgent at this moment, or the
// first of all. The caller holds mu.
func (l *line) next() {
	first := l.waiting.Front()
	if first == nil {
		l.busy = false
		return
	}
	for e := first; e != nil; e = e.Next() {
		if e.Value.(*waiter).urgent() {
			first = e
			break
		}
	}
	close(l.waiting.Remove(first).(*waiter).turn)
}
