package upstream

import (
	"context"
	"errors"
	"sync/atomic"
	"time"
)

const (
	// inUse is how long after its last connection a destination counts as in
	// use.
	inUse = time.Minute
	// usePace is how often the instances of a destination in use are asked for.
	// With the time that an answer takes it is well within the two seconds in
	// which a change must be seen.
	usePace = time.Second
	// chainRests is how much less often the discovery chain is asked for than
	// the instances while a destination is not in use.
	chainRests = 4
	// freshEnough is how old the agent's word may be for the first connection
	// after a rest.
	freshEnough = 2 * time.Second
)

// interest is whether anybody uses a destination, which says how often the
// agent is asked about it.
type interest struct {
	turns *Turns
	epoch time.Time
	// last is when a connection was last made, in nanoseconds after epoch; zero
	// for never. changed is when the agent's answer last did.
	last, changed atomic.Int64
	// pending counts connections that wait for the agent's word.
	pending atomic.Int64
	// confirming is held by the one of them that asks.
	confirming chan struct{}
}

func newInterest(t *Turns) *interest {
	return &interest{turns: t, epoch: time.Now(), confirming: make(chan struct{}, 1)}
}

func (i *interest) now() int64 { return int64(time.Since(i.epoch)) + 1 }

// recent says whether the destination is in use.
func (i *interest) recent() bool { return i.pending.Load() > 0 || i.awake(i.now()) }

func (i *interest) awake(now int64) bool {
	last := i.last.Load()
	return last != 0 && now-last < int64(inUse)
}

// pace is used while the destination is in use. When it is not, it grows with
// the time in which nothing has happened to that of a rest: what is started
// together, as after a deployment, finds each other without a connection, and is
// seen to.
func (i *interest) pace(used time.Duration) time.Duration {
	if i.recent() {
		return used
	}
	quiet := time.Duration(i.now() - max(i.last.Load(), i.changed.Load()))
	return i.turns.rest(quiet)
}

// paceOfChain is pace, but slower at rest: entries change less than instances.
func (i *interest) paceOfChain(used time.Duration) time.Duration {
	if i.recent() {
		return used
	}
	return chainRests * i.pace(used)
}

// news notes that the agent's answer is another than before.
func (i *interest) news() { i.changed.Store(i.now()) }

// enter waits for the turn of a question about the destination.
func (i *interest) enter(remote bool) func(context.Context) (func(), error) {
	return func(ctx context.Context) (func(), error) { return i.turns.enter(ctx, remote, i.recent) }
}

// counted counts one resolver until the result is called.
func (i *interest) counted() func() {
	if i.turns == nil {
		return func() {}
	}
	i.turns.resolvers.Add(1)
	return func() { i.turns.resolvers.Add(-1) }
}

// use notes a connection. The first one after a rest has the agent's word
// confirmed, and those that come meanwhile wait with it until ctx is done. It
// says whether there may be news.
func (i *interest) use(ctx context.Context, confirm func(context.Context)) bool {
	if now := i.now(); i.awake(now) {
		i.last.Store(now)
		return false
	}
	i.pending.Add(1)
	defer i.pending.Add(-1)
	select {
	case i.confirming <- struct{}{}:
	case <-ctx.Done():
		return true
	}
	defer func() { <-i.confirming }()
	if i.awake(i.now()) {
		return true
	}
	confirm(ctx)
	if !errors.Is(context.Cause(ctx), context.Canceled) { // else nobody has waited
		i.last.Store(i.now())
	}
	return true
}
