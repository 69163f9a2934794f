package upstream

import (
	"context"
	"slices"
	"time"
)

// maxConfirms bounds the rounds in which a chain's targets are confirmed, of
// which each may bring another target up.
const maxConfirms = 3

func (c *chain) Use(ctx context.Context) bool { return c.interest.use(ctx, c.confirm) }

// confirm has the agent asked for the chain, then for the targets that matter.
func (c *chain) confirm(ctx context.Context) {
	if time.Since(c.plans.Status().Fresh) <= freshEnough {
		c.plans.Refresh()
	} else if c.plans.Confirm(ctx) != nil {
		return
	}
	var done []*leg
	for range maxConfirms {
		answer := make(chan []*leg, 1)
		select {
		case c.looks <- answer:
		case <-ctx.Done():
			return
		}
		fresh := true
		for _, l := range <-answer {
			if !slices.Contains(done, l) {
				fresh = false
				done = append(done, l)
				l.confirm(ctx)
			}
		}
		if fresh {
			return
		}
	}
}
