package connectproxy

import (
	"context"
	"time"

	"golang.org/x/sync/errgroup"
)

// sweepEvery is how often it is looked for decisions that grow old.
const sweepEvery = time.Second

// echoes are the times after a change of the intentions, one after the other,
// at which decisions are asked for again. The agent answers from a cache that
// learns of the change by a query of its own, maybe after ours has told us.
var echoes = [...]time.Duration{300 * time.Millisecond, 700 * time.Millisecond}

// doubt is for how long after the intentions could not be watched decisions are
// asked for as if they still could not. The agent judges by a copy of its own,
// which it renews after failures with waits of up to two minutes: until then it
// says what was so before, whatever our watch has told us.
const doubt = 2*time.Minute + blindReask

// Run asks the agent until ctx is done and returns ctx's error. Without it
// nobody is authorized.
func (a *authorizer) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return a.match.Run(ctx) })
	g.Go(func() error { return a.recheck(ctx) })
	for range maxAsks {
		g.Go(func() error { return a.answer(ctx) })
	}
	return g.Wait()
}

// recheck has decisions asked for again when the intentions change and when
// they have grown old.
func (a *authorizer) recheck(ctx context.Context) error {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	echo := time.NewTimer(0)
	defer echo.Stop()
	echo.Stop()
	left := echoes[:0]
	var failed time.Time // when the watch was last seen to fail that had worked
	for {
		changed := a.match.Changed()
		s, now := a.match.Status(), time.Now()
		if s.Has && s.Err != nil {
			failed = now
		}
		a.blind.Store(!s.Has || !failed.IsZero() && now.Sub(failed) < doubt)
		a.sweep(now)
		select {
		case <-changed:
			left = echoes[:]
		case <-echo.C:
		case <-tick.C:
			continue
		case <-ctx.Done():
			return ctx.Err()
		}
		a.generation.Add(1)
		if len(left) > 0 {
			echo.Reset(left[0])
			left = left[1:]
		}
	}
}

// sweep asks again about the identities in use whose decision is due, and
// forgets those that nobody has used for so long that their decision could not
// be used either.
func (a *authorizer) sweep(now time.Time) {
	a.mu.RLock()
	watched := a.live
	a.mu.RUnlock()
	live := make(map[string]bool)
	for _, l := range watched {
		for _, uri := range l.Peers() {
			live[uri] = true
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for uri := range live {
		a.add(uri)
	}
	for uri, d := range a.decisions {
		if d.asking != nil {
			continue
		}
		switch v := d.verdict.Load(); {
		case a.due(d, v, live[uri], now):
			if !now.Before(d.retryAt) {
				a.enqueue(d, now)
			}
		case !live[uri] && now.Sub(epoch.Add(time.Duration(d.used.Load()))) > a.o.MaxStale:
			delete(a.decisions, uri)
		}
	}
}

// due reports that a decision is in use and to be asked for again.
func (a *authorizer) due(d *decision, v *verdict, live bool, now time.Time) bool {
	if v == nil {
		return live
	}
	if live && v.generation != a.generation.Load() {
		return true
	}
	after := reaskAfter
	if a.blind.Load() {
		after = blindReask
	}
	used := epoch.Add(time.Duration(d.used.Load()))
	return (live || used.After(v.at)) && now.Sub(v.at) >= after
}
