package listener

import (
	"net"
	"sync"
	"time"
)

// brokenEvery is how often it is looked whether the connection of a client that is
// served is broken.
const brokenEvery = 10 * time.Second

// brokenWatch looks from time to time whether a client's connection is broken. Who
// serves the client may not read from it, as where a request's body is passed on to a
// service that reads none of it, and does not hear of it by itself.
type brokenWatch struct {
	mu    sync.Mutex
	timer *time.Timer // nil once it is over
}

// watchBroken ends c once its client's connection is broken, until stop is called.
func (c *conn) watchBroken(raw net.Conn) (stop func()) {
	w := &brokenWatch{}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.timer = time.AfterFunc(c.l.brokenEvery, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.timer == nil {
			return
		}
		if err := brokenBy(raw); err != nil {
			c.l.conns.end(c, failedAt(stageClient, err))
			return
		}
		w.timer.Reset(c.l.brokenEvery)
	})
	return w.stop
}

// stop returns when nothing is looked at any more.
func (w *brokenWatch) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.timer.Stop()
	w.timer = nil
}
