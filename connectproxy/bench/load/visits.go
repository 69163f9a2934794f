package load

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"
)

// Visits are short connections.
type Visits struct {
	// Done is how many were opened and answered within Took.
	Done int64
	Took time.Duration
	// Times are what those took, in order.
	Times []time.Duration
	// Failed is how many were not, and Err the first reason.
	Failed int
	Err    error
}

// Visit opens connections, so many at a time, has one byte answered on each
// and closes it.
func (c *Client) Visit(ctx context.Context, atATime int, w Window) (Visits, error) {
	var (
		work   sync.WaitGroup
		p      phases
		times  = make([][]time.Duration, atATime)
		failed failures
	)
	for i := range times {
		work.Go(func() {
			for !p.over.Load() && ctx.Err() == nil {
				start := time.Now()
				if err := c.Check(ctx); err != nil {
					failed.add(err)
					pause(ctx, time.Millisecond)
				} else if p.measuring.Load() {
					times[i] = append(times[i], time.Since(start))
				}
			}
		})
	}
	took := w.run(ctx, &p)
	work.Wait()
	v := Visits{Times: slices.Concat(times...), Failed: failed.n, Err: failed.first}
	v.count(took)
	if v.Done == 0 && ctx.Err() == nil {
		return v, fmt.Errorf("opening connections: none of %d was answered: %w", v.Failed, v.Err)
	}
	return v, ctx.Err()
}

// count counts the times, which have all come.
func (v *Visits) count(took time.Duration) {
	slices.Sort(v.Times)
	v.Done, v.Took = int64(len(v.Times)), took
}
