package relay

import (
	"runtime/debug"
	"sync"
	"time"
)

const (
	// crowd is how many connections make it worth while to give memory back
	// after them.
	crowd = 256
	// settle is how long is waited for more of them to end.
	settle = time.Second
)

// tide gives memory back to the system when most connections have ended: Go
// collects what a crowd leaves behind only once as much has been allocated
// again, or after two minutes, and returns it slowly. It costs a collection for
// each crowd that has gone.
type tide struct {
	mu         sync.Mutex
	live, high int
	falling    bool
}

func (t *tide) rise() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.live++
	t.high = max(t.high, t.live)
}

// fall reports whether memory should be given back now, by drain.
func (t *tide) fall() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.live--
	if t.falling || t.high < crowd || 2*t.live > t.high {
		return false
	}
	t.falling = true
	return true
}

// drain waits for the crowd to have gone, or until stop is closed.
func (t *tide) drain(stop <-chan struct{}) {
	timer := time.NewTimer(settle)
	defer timer.Stop()
	select {
	case <-timer.C:
		debug.FreeOSMemory()
	case <-stop:
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.high, t.falling = t.live, false
}
