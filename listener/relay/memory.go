package relay

import (
	"runtime/debug"
	"sync"
	"time"
)

const (
	// burst is how many connections must have come or gone within burstWindow to
	// make it worth while to give memory back after them.
	burst       = 256
	burstWindow = 4 * time.Second
	// quietPeriod is how long it must be quiet before: no more than quietRate of
	// them may come or go in it. Where it never is, memory is given back after
	// maxPeriods all the same.
	quietPeriod = time.Second
	quietRate   = burst / 8
	maxPeriods  = 60
)

// reclaimer gives memory back to the system after many connections have come or
// gone. Their handshakes leave garbage, and their ends all that they held, which
// Go collects only once as much has been allocated again, or after two minutes,
// and returns slowly. It costs a collection for each burst, and one a minute
// while they come and go without end.
type reclaimer struct {
	mu      sync.Mutex
	changes int       // since began
	began   time.Time // when counting began anew
	waiting bool      // in run
}

// count counts a connection that comes or goes, and reports whether run should
// be called.
func (r *reclaimer) count() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now := time.Now(); !r.waiting && now.Sub(r.began) > burstWindow {
		r.changes, r.began = 0, now
	}
	r.changes++
	if r.waiting || r.changes < burst {
		return false
	}
	r.waiting = true
	return true
}

// run waits until it is quiet after a burst and gives memory back, unless stop is
// closed before.
func (r *reclaimer) run(stop <-chan struct{}) {
	tick := time.NewTicker(quietPeriod)
	defer tick.Stop()
	for last, n := 0, 1; ; n++ {
		select {
		case <-tick.C:
		case <-stop:
			return
		}
		r.mu.Lock()
		over := r.changes-last <= quietRate || n == maxPeriods
		last = r.changes
		if over {
			r.changes, r.waiting = 0, false
		}
		r.mu.Unlock()
		if over {
			debug.FreeOSMemory()
			return
		}
	}
}
