package loglimit

import (
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestLinesAreLeftOutWithinAWindowAndCounted(t *testing.T) {
	var l Limit
	now := time.Now()
	for i := range Lines {
		if ok, left := l.Take(now); !ok || left != 0 {
			t.Fatalf("line %d: %t, %d left out", i, ok, left)
		}
	}
	for range 5 {
		if ok, _ := l.Take(now.Add(Window - 1)); ok {
			t.Fatal("a line too many")
		}
	}
	if ok, left := l.Take(now.Add(Window)); !ok || left != 5 {
		t.Errorf("after the window: %t, %d left out, want 5", ok, left)
	}
	if ok, left := l.Take(now.Add(Window)); !ok || left != 0 {
		t.Errorf("what was left out is told twice: %t, %d", ok, left)
	}
}
