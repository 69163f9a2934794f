package listener

import (
	"context"
	"sync"
	"sync/atomic"
)

// maxIdle is how many of a listener's goroutines wait for a connection at most.
const maxIdle = 8

// crew are the goroutines that take connections up the ladder. One that is done
// waits for the next connection: a handshake grows a goroutine's stack to 16 kB
// in steps, and one that is grown, and in the processor's cache, saves 3 % of a
// new connection. A stack that waits unused is halved by each collection, down
// to 4 kB.
type crew struct {
	ctx  context.Context // of every climb
	next chan *conn      // to one that waits
	idle atomic.Int32
	stop chan struct{} // closed when none needs to wait any more
	work sync.WaitGroup
}

func newCrew(ctx context.Context) *crew {
	return &crew{ctx: ctx, next: make(chan *conn), stop: make(chan struct{})}
}

// climb takes c up the ladder on a goroutine that has nothing else to do.
func (w *crew) climb(c *conn) {
	select {
	case w.next <- c:
	default:
		w.work.Go(func() {
			for c := c; c != nil; c = w.await() {
				c.climb(w.ctx)
			}
		})
	}
}

// await returns the next connection, or nil if the goroutine should end.
func (w *crew) await() *conn {
	defer w.idle.Add(-1)
	if w.idle.Add(1) > maxIdle {
		return nil
	}
	select {
	case c := <-w.next:
		return c
	case <-w.stop:
		return nil
	}
}

// dismiss ends those that wait, and returns when all have ended. Nobody may call
// climb any more.
func (w *crew) dismiss() {
	close(w.stop)
	w.work.Wait()
}
