package relay

import (
	"runtime/debug"
	"sync"
	"time"
)

const (
	// crowd is how many connections must have come or gone within gather to make
	// it worth while to give memory back after them.
	crowd  = 256
	gather = 4 * time.Second
	// settle is how long there must be calm before: in that time no more than
	// calm of them may come or go. Where it is never calm, memory is given back
	// after maxTicks of those times all the same.
	settle   = time.Second
	calm     = crowd / 8
	maxTicks = 60
)

// tide gives memory back to the system after many connections have come or
// gone. Their handshakes leave garbage, and their ends all that they held, which
// Go collects only once as much has been allocated again, or after two minutes,
// and returns slowly. It costs a collection for each crowd, and one a minute
// while they come and go without end.
type tide struct {
	mu       sync.Mutex
	moved    int       // since began
	began    time.Time // when counting began anew
	watching bool      // by ebb
}

// move counts a connection that comes or goes, and reports whether ebb should
// be run.
func (t *tide) move() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if now := time.Now(); !t.watching && now.Sub(t.began) > gather {
		t.moved, t.began = 0, now
	}
	t.moved++
	if t.watching || t.moved < crowd {
		return false
	}
	t.watching = true
	return true
}

// ebb waits for the calm after a crowd and gives memory back, unless stop is
// closed before.
func (t *tide) ebb(stop <-chan struct{}) {
	tick := time.NewTicker(settle)
	defer tick.Stop()
	for last, n := 0, 1; ; n++ {
		select {
		case <-tick.C:
		case <-stop:
			return
		}
		t.mu.Lock()
		over := t.moved-last <= calm || n == maxTicks
		last = t.moved
		if over {
			t.moved, t.watching = 0, false
		}
		t.mu.Unlock()
		if over {
			debug.FreeOSMemory()
			return
		}
	}
}
