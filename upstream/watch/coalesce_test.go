package watch

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestWhatIsDoneEverySoOftenFallsTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var first time.Time
		for _, every := range []time.Duration{2, 4, 10, 60} {
			<-time.After(every * 37 * time.Millisecond) // not in step
			for range 3 {
				<-time.After(Coalesce(every * time.Second))
			}
			if first.IsZero() {
				first = time.Now()
			}
			if off := time.Since(first) % beat; off != 0 {
				t.Errorf("what is done every %ds is %s off the moments of the rest", every, off)
			}
		}
	})
}

func TestCoalescingNeverWaitsMuchLongerAndKeepsTheRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, d := range []time.Duration{
			300 * time.Millisecond, time.Second, 1500 * time.Millisecond, 2 * time.Second, 5 * time.Second, 15 * time.Second, time.Minute,
		} {
			const rounds = 100
			began := time.Now()
			for i := range rounds {
				wait := Coalesce(d)
				if wait > d+d/10 || wait < minGap {
					t.Errorf("%s: round %d waits %s", d, i, wait)
				}
				<-time.After(wait + time.Millisecond) // what is done takes its time
			}
			if each := time.Since(began) / rounds; each < d*7/10 || each > d*11/10 {
				t.Errorf("every %s became every %s", d, each)
			}
		}
	})
}

// What chance leaves of it: that a tenth of the time has a third of the processes,
// or that three tenths have none, happens less than once in a hundred thousand runs.
func TestProcessesThatStartTogetherAskAtDifferentMoments(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const processes, parts, most, empty = 60, 10, 20, 3
		began := time.Now()
		var origins []time.Time
		for range processes {
			origins = append(origins, newOrigin(began))
		}
		for _, every := range []time.Duration{beat, 5 * beat} {
			<-time.After(every)
			var in [parts]int
			for _, o := range origins {
				at := time.Since(began) + coalesce(o, every)
				in[at%beat*parts/beat]++
			}
			none := 0
			for i, n := range in {
				if n == 0 {
					none++
				}
				if n >= most {
					t.Errorf("every %s: %d of %d ask in one part of the time, %d of %d", every, n, processes, i+1, parts)
				}
			}
			if none >= empty {
				t.Errorf("every %s: nobody asks in %d of %d parts of the time", every, none, parts)
			}
		}
	})
}
