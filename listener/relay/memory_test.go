package relay

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestMemoryIsGivenBackOnceInTheCalmAfterACrowd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var tide tide
		stop := make(chan struct{})
		watches := 0
		move := func(n int) {
			for range n {
				if tide.move() {
					watches++
					go tide.ebb(stop)
				}
			}
		}
		state := func() (moved int, watching bool) {
			synctest.Wait()
			tide.mu.Lock()
			defer tide.mu.Unlock()
			return tide.moved, tide.watching
		}
		move(crowd - 1)
		<-time.After(gather + 1)
		move(crowd - 1)
		if watches != 0 {
			t.Fatal("a few connections are a crowd")
		}
		move(1)
		<-time.After(settle / 2) // between its looks
		for range 5 {
			move(calm + 1)
			<-time.After(settle)
		}
		if moved, watching := state(); watches != 1 || !watching || moved != crowd+5*(calm+1) {
			t.Fatalf("while they come: %d watches, watching %t, %d moved", watches, watching, moved)
		}
		move(calm)
		<-time.After(settle)
		if moved, watching := state(); watching || moved != 0 {
			t.Fatalf("in the calm: watching %t, %d moved", watching, moved)
		}
		move(crowd)
		if watches != 2 {
			t.Fatalf("after the next crowd: %d watches", watches)
		}
		<-time.After(settle / 2)
		for n := range maxTicks {
			if _, watching := state(); !watching {
				t.Fatalf("without any calm: no longer watched after %d ticks", n)
			}
			move(calm + 1)
			<-time.After(settle)
		}
		if moved, watching := state(); watching || moved != 0 {
			t.Fatalf("after the last tick: watching %t, %d moved", watching, moved)
		}
		move(crowd)
		if watches != 3 {
			t.Fatalf("after the third crowd: %d watches", watches)
		}
		close(stop)
		synctest.Wait()
	})
}
