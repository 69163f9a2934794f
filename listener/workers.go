package listener

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
)

// workers run the short and deep part of connections. A worker that is done
// waits for the next connection with the stack it has grown, so that not every
// handshake pays for growing one.
type workers struct {
	queue chan *conn
	idle  atomic.Int32
	spare int32 // how many may wait
	all   sync.WaitGroup
}

func newWorkers() *workers {
	return &workers{
		queue: make(chan *conn),
		spare: int32(4 * runtime.GOMAXPROCS(0)),
	}
}

// do has a worker take the connection up. Only the acceptor calls it.
func (w *workers) do(ctx context.Context, c *conn) {
	select {
	case w.queue <- c:
	default:
		w.all.Add(1)
		go w.work(ctx, c)
	}
}

func (w *workers) work(ctx context.Context, c *conn) {
	defer w.all.Done()
	for ok := true; ok; {
		c.climb(ctx)
		if w.idle.Add(1) > w.spare {
			w.idle.Add(-1)
			return
		}
		c, ok = <-w.queue
		w.idle.Add(-1)
	}
}

// stop ends the workers once nothing is given to them any more, and waits.
func (w *workers) stop() {
	close(w.queue)
	w.all.Wait()
}
