package dev

import (
	"context"
	"fmt"
	"sync"
)

// tasks are goroutines that end together.
type tasks struct {
	cancel context.CancelFunc
	failed chan<- error
	all    sync.WaitGroup
}

// newTasks gives the context that its tasks run under. What ends in an error
// before it was to end is told to failed, which has room for one of each.
func newTasks(ctx context.Context, failed chan<- error) (context.Context, *tasks) {
	ctx, cancel := context.WithCancel(ctx)
	return ctx, &tasks{cancel: cancel, failed: failed}
}

func (t *tasks) run(ctx context.Context, what string, f func(context.Context) error) {
	t.all.Go(func() {
		if err := f(ctx); err != nil && ctx.Err() == nil {
			t.failed <- fmt.Errorf("%s: %w", what, err)
		}
	})
}

// stop ends all of them and waits.
func (t *tasks) stop() {
	t.cancel()
	t.all.Wait()
}
