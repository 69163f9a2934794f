package connectproxy

import "context"

// task is a goroutine with an owner.
type task struct {
	cancel context.CancelFunc
	done   chan struct{}
}

// startTask runs run until ctx is done or the task is stopped. What run returns
// then is ctx's error, and dropped.
func startTask(ctx context.Context, run func(context.Context) error) *task {
	ctx, cancel := context.WithCancel(ctx)
	t := &task{cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(t.done)
		defer cancel()
		_ = run(ctx)
	}()
	return t
}

// stop ends the goroutine and waits for it. A nil task has ended.
func (t *task) stop() {
	if t == nil {
		return
	}
	t.cancel()
	<-t.done
}

// ended reports whether the goroutine has returned.
func (t *task) ended() bool {
	select {
	case <-t.done:
		return true
	default:
		return false
	}
}
