package agenttest

import (
	"testing"
	"time"
)

// pollInterval is how often a condition is looked at: often enough that waiting
// adds nothing to a test's time, seldom enough to leave the agent the CPU.
const pollInterval = 20 * time.Millisecond

// Eventually calls cond until it returns nil, and fails the test with its last
// error if that takes longer than within.
func Eventually(t testing.TB, within time.Duration, cond func() error) {
	t.Helper()
	if err := poll(within, nil, cond); err != nil {
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

// poll calls cond until it returns nil, time is up or giveUp is closed, and
// returns its last error.
func poll(within time.Duration, giveUp <-chan struct{}, cond func() error) error {
	end := time.NewTimer(within)
	defer end.Stop()
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		err := cond()
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-giveUp:
			return err
		case <-end.C:
			return err
		}
	}
}
