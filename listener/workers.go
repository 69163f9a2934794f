package listener

import (
	"context"
	"sync"
	"sync/atomic"
)

// This file tunes what a new connection costs. workers.run can be replaced by a
// go statement and a WaitGroup, and everything works as before: a handshake
// grows a goroutine's stack in steps, which one that has grown before is spared.
// docs/performance.md has the gain. A stack that waits unused is halved by each
// garbage collection.

// maxIdleWorkers is how many of a listener's goroutines wait for a connection at
// most.
const maxIdleWorkers = 8

// workers are the goroutines that serve connections until these are relayed. One
// that is done waits for the next connection.
type workers struct {
	ctx  context.Context // of every task
	next chan func(context.Context)
	idle atomic.Int32
	done chan struct{} // closed when none needs to wait any more
	work sync.WaitGroup
}

func newWorkers(ctx context.Context) *workers {
	return &workers{ctx: ctx, next: make(chan func(context.Context)), done: make(chan struct{})}
}

// run calls task on a goroutine that has nothing else to do.
func (w *workers) run(task func(context.Context)) {
	select {
	case w.next <- task:
	default:
		w.work.Go(func() {
			for task := task; task != nil; task = w.await() {
				task(w.ctx)
			}
		})
	}
}

// await returns the next task, or nil if the goroutine should end.
func (w *workers) await() func(context.Context) {
	defer w.idle.Add(-1)
	if w.idle.Add(1) > maxIdleWorkers {
		return nil
	}
	select {
	case task := <-w.next:
		return task
	case <-w.done:
		return nil
	}
}

// stop ends those that wait, and returns when all have ended. run must not be
// called any more.
func (w *workers) stop() {
	close(w.done)
	w.work.Wait()
}
