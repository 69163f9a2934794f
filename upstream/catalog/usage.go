package catalog

import (
	"context"
	"errors"
	"sync"
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

// usage is whether anybody uses a destination, which says how often the agent is
// asked about it.
type usage struct {
	c *Catalog
	// last is when a connection was last made, in the Catalog's time; zero for
	// never. changed is when the agent's answer last did.
	last, changed atomic.Int64
	// waiting counts connections that wait for the agent's word.
	waiting atomic.Int32

	mu sync.Mutex // guards confirming
	// confirming is closed when the connection that has the agent asked for all
	// of them is done with it; nil without one.
	confirming chan struct{}
}

// recent reports whether the destination is in use.
func (u *usage) recent() bool { return u.waiting.Load() > 0 || u.awake(u.c.now()) }

func (u *usage) awake(now int64) bool {
	last := u.last.Load()
	return last != 0 && now-last < int64(inUse)
}

// pace is used while the destination is in use. When it is not, it grows with
// the time in which nothing has happened to that of a rest: what is started
// together, as after a deployment, finds each other without a connection, and is
// seen to.
func (u *usage) pace(used time.Duration) time.Duration {
	if u.recent() {
		return used
	}
	return u.c.restInterval(time.Duration(u.c.now() - max(u.last.Load(), u.changed.Load())))
}

// chainPace is pace, but slower at rest: entries change less than instances.
func (u *usage) chainPace(used time.Duration) time.Duration {
	if u.recent() {
		return used
	}
	return chainRests * u.pace(used)
}

// news notes that the agent's answer is another than before.
func (u *usage) news() { u.changed.Store(u.c.now()) }

// use notes a connection. The first one after a rest has the agent's word
// confirmed, and those that come meanwhile wait with it until ctx is done. It
// reports whether there may be news.
func (u *usage) use(ctx context.Context, confirm func(context.Context)) bool {
	if now := u.c.now(); u.awake(now) {
		u.last.Store(now)
		return false
	}
	u.waiting.Add(1)
	defer u.waiting.Add(-1)
	for {
		ended, mine := u.turn()
		switch {
		case mine:
			defer u.end(ended)
			confirm(ctx)
			if !errors.Is(context.Cause(ctx), context.Canceled) { // else nobody has waited
				u.last.Store(u.c.now())
			}
			return true
		case ended == nil:
			return true
		}
		select {
		case <-ended:
		case <-ctx.Done():
			return true
		}
	}
}

// turn makes the caller the one that confirms, or gives what is closed when
// another is done with that; nil if there is no need any more.
func (u *usage) turn() (ended chan struct{}, mine bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	switch {
	case u.awake(u.c.now()):
		return nil, false
	case u.confirming != nil:
		return u.confirming, false
	}
	u.confirming = make(chan struct{})
	return u.confirming, true
}

func (u *usage) end(ended chan struct{}) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.confirming = nil
	close(ended)
}
