package relay

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestMemoryIsGivenBackOnceItIsQuietAfterABurst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var reclaimer reclaimer
		stop := make(chan struct{})
		watches := 0
		move := func(n int) {
			for range n {
				if reclaimer.count() {
					watches++
					go reclaimer.run(stop)
				}
			}
		}
		state := func() (moved int, watching bool) {
			synctest.Wait()
			reclaimer.mu.Lock()
			defer reclaimer.mu.Unlock()
			return reclaimer.changes, reclaimer.waiting
		}
		move(burst - 1)
		<-time.After(burstWindow + 1)
		move(burst - 1)
		if watches != 0 {
			t.Fatal("a few connections are a burst")
		}
		move(1)
		<-time.After(quietPeriod / 2) // between its looks
		for range 5 {
			move(quietRate + 1)
			<-time.After(quietPeriod)
		}
		if moved, watching := state(); watches != 1 || !watching || moved != burst+5*(quietRate+1) {
			t.Fatalf("while they come: %d watches, watching %t, %d moved", watches, watching, moved)
		}
		move(quietRate)
		<-time.After(quietPeriod)
		if moved, watching := state(); watching || moved != 0 {
			t.Fatalf("in the calm: watching %t, %d moved", watching, moved)
		}
		move(burst)
		if watches != 2 {
			t.Fatalf("after the next burst: %d watches", watches)
		}
		<-time.After(quietPeriod / 2)
		for n := range maxPeriods {
			if _, watching := state(); !watching {
				t.Fatalf("without any calm: no longer watched after %d ticks", n)
			}
			move(quietRate + 1)
			<-time.After(quietPeriod)
		}
		if moved, watching := state(); watching || moved != 0 {
			t.Fatalf("after the last tick: watching %t, %d moved", watching, moved)
		}
		move(burst)
		if watches != 3 {
			t.Fatalf("after the third burst: %d watches", watches)
		}
		close(stop)
		synctest.Wait()
	})
}
