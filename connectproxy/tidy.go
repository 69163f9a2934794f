package connectproxy

import (
	"runtime/debug"
	"time"
)

const (
	// manyListeners is how many listeners a configuration must open for it to be
	// worth while to give memory back after it.
	manyListeners = 64
	// tidyAfter is how long after it that is done: the first questions about
	// their upstreams have been answered by then.
	tidyAfter = 10 * time.Second
)

// tidy gives memory back some time after many listeners have been opened. What
// that took in garbage and stacks Go would collect after two minutes at the
// earliest and return slowly. It belongs to the engine's loop.
type tidy struct{ at time.Time }

// opened notes how many listeners a configuration has opened.
func (t *tidy) opened(n int, now time.Time) {
	if n >= manyListeners {
		t.at = now.Add(tidyAfter)
	}
}

func (t *tidy) look(now time.Time) {
	if !t.at.IsZero() && now.After(t.at) {
		t.at = time.Time{}
		debug.FreeOSMemory()
	}
}
