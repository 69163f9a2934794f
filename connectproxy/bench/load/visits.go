package load

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// Visits are short connections.
type Visits struct {
	// Done is how many were opened and answered within Took.
	Done int64
	Took time.Duration
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
		done   atomic.Int64
		failed failures
	)
	for range atATime {
		work.Go(func() {
			for !p.over.Load() && ctx.Err() == nil {
				if err := c.Check(ctx); err != nil {
					failed.add(err)
					pause(ctx, time.Millisecond)
				} else if p.measuring.Load() {
					done.Add(1)
				}
			}
		})
	}
	v := Visits{Took: w.run(ctx, &p)}
	work.Wait()
	v.Done, v.Failed, v.Err = done.Load(), failed.n, failed.first
	if v.Done == 0 && ctx.Err() == nil {
		return v, fmt.Errorf("opening connections: none of %d was answered: %w", v.Failed, v.Err)
	}
	return v, ctx.Err()
}
