package agenttest

import (
	"testing"
	"time"

	"connect-proxy/listener/listenertest"
)

// pollInterval is how often Always looks.
const pollInterval = 20 * time.Millisecond

// Eventually calls cond until it returns nil, and fails the test with its last
// error if that takes longer than within.
func Eventually(t testing.TB, within time.Duration, cond func() error) {
	t.Helper()
	if err := listenertest.Poll(within, nil, cond); err != nil {
		t.Fatalf("still not so after %s: %v", within, err)
	}
}

// Always calls cond for as long as during and fails the test at the first
// error.
func Always(t testing.TB, during time.Duration, cond func() error) {
	t.Helper()
	end := time.NewTimer(during)
	defer end.Stop()
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		if err := cond(); err != nil {
			t.Fatalf("not so any more: %v", err)
		}
		select {
		case <-tick.C:
		case <-end.C:
			return
		}
	}
}
