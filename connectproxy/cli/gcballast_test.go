package cli

import (
	"runtime"
	"testing"
	"time"
)

func TestTheBallastGoesOnceTheHeapHasGrown(t *testing.T) {
	b := newBallast()
	defer b.release()
	for _, step := range []struct {
		live    uint64
		held    bool
		percent int
	}{
		{ballastSize + 2<<20, true, smallPercent},
		{2*ballastSize + 1, false, largePercent},
		{ballastSize + 1, false, largePercent},
		{2 << 20, false, smallPercent},
		{30 << 20, false, largePercent},
	} {
		if !b.adjust(step.live) || (b.memory != nil) != step.held || b.percent != step.percent {
			t.Errorf("%d bytes live: held %t, GOGC %d; want %t and %d", step.live, b.memory != nil, b.percent, step.held, step.percent)
		}
	}
	b.release()
	if b.adjust(30<<20) || b.percent != largePercent {
		t.Error("adjusted after the end")
	}
}

func TestCollectionsAreSeen(t *testing.T) {
	b := newBallast()
	defer b.release()
	held := make([]*[1 << 10]*int, 0, 4<<10)
	for range cap(held) {
		held = append(held, new([1 << 10]*int)) // 8 KiB each
	}
	for end := time.Now().Add(soon); ; <-time.After(10 * time.Millisecond) {
		runtime.GC() // whatever the tests before this one have left
		b.mu.Lock()
		gone := b.memory == nil
		b.mu.Unlock()
		if gone {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the ballast is held beside thirty megabytes")
		}
	}
	if len(held) == 0 {
		t.Error("nothing is held")
	}
}
