package relay

import (
	"runtime/debug"
	"sync"
	"time"
)

const (
	// crowd is how many connections must have come or gone to make it worth
	// while to give memory back after them.
	crowd = 256
	// settle is how long there must be calm before: in each such time no more
	// than calm of them may come or go.
	settle = time.Second
	calm   = crowd / 8
)

// tide gives memory back to the system after many connections have come or
// gone. Their handshakes leave garbage, and their ends all that they held, which
// Go collects only once as much has been allocated again, or after two minutes,
// and returns slowly. It costs a collection for each crowd.
type tide struct {
	mu       sync.Mutex
	moved    int  // since memory was last given back
	watching bool // by ebb
}

// move counts a connection that comes or goes, and reports whether ebb should
// be run.
func (t *tide) move() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.moved++
	if t.watching || t.moved < crowd {
		return false
	}
	t.watching = true
	return true
}

// ebb waits for the calm after a crowd, or until stop is closed.
func (t *tide) ebb(stop <-chan struct{}) {
	tick := time.NewTicker(settle)
	defer tick.Stop()
	for last := 0; ; {
		select {
		case <-tick.C:
		case <-stop:
			return
		}
		t.mu.Lock()
		still := t.moved-last <= calm
		last = t.moved
		if still {
			t.moved, t.watching = 0, false
		}
		t.mu.Unlock()
		if still {
			debug.FreeOSMemory()
			return
		}
	}
}
