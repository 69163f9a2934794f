package listenertest

import (
	"errors"
	"testing"
	"time"
)

// A condition is looked at after a millisecond, and ever less often up to the
// longest pause: often enough that waiting adds nothing to a test's time, seldom
// enough to leave what is waited for the CPU.
const (
	firstPause = time.Millisecond
	mostPause  = 20 * time.Millisecond
)

// Eventually waits until cond holds, and fails the test after half a minute: on a
// machine that does much else, what takes a moment takes seconds.
func Eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	Within(t, 30*time.Second, what, cond)
}

// Within waits until cond holds, and fails the test after limit.
func Within(t testing.TB, limit time.Duration, what string, cond func() bool) {
	t.Helper()
	notYet := errors.New("not yet")
	err := Poll(limit, nil, func() error {
		if cond() {
			return nil
		}
		return notYet
	})
	if err != nil {
		t.Fatalf("waited %s in vain until %s", limit, what)
	}
}

// Poll calls cond until it returns nil, limit is over or giveUp is closed, and
// returns its last error.
func Poll(limit time.Duration, giveUp <-chan struct{}, cond func() error) error {
	end := time.NewTimer(limit)
	defer end.Stop()
	for pause := firstPause; ; pause = min(2*pause, mostPause) {
		err := cond()
		if err == nil {
			return nil
		}
		again := time.NewTimer(pause)
		select {
		case <-again.C:
		case <-giveUp:
			again.Stop()
			return err
		case <-end.C:
			again.Stop()
			return err
		}
	}
}
