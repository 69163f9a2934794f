package listenertest

import (
	"sync/atomic"
	"testing"
	"time"
)

// Lateness tells, until the test ends, how much later than they should timers have
// fired in all since it was called: what a machine that does much else adds to
// whatever is done on it in steps. A limit that is a promise allows for it.
func Lateness(t testing.TB) func() time.Duration {
	t.Helper()
	const step = 10 * time.Millisecond
	var late atomic.Int64
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			began := time.Now()
			select {
			case <-time.After(step):
				late.Add(int64(time.Since(began) - step))
			case <-stop:
				return
			}
		}
	}()
	t.Cleanup(func() { close(stop); <-stopped })
	return func() time.Duration { return time.Duration(late.Load()) }
}
