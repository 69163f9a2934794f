package backoff

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestWaitsGrowFromTheLeastToTheMostAndStartAnewAfterASuccess(t *testing.T) {
	for name, c := range map[string]struct {
		b           Backoff
		least, most time.Duration
	}{
		"by default":  {Backoff{}, DefaultMin, DefaultMax},
		"as asked":    {Backoff{Min: time.Second, Max: 6 * time.Second}, time.Second, 6 * time.Second},
		"no increase": {Backoff{Min: time.Second, Max: time.Second}, time.Second, time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			for range 2 {
				bound := c.least
				for n := range 12 {
					if got := c.b.Next(); got < bound/2 || got > bound {
						t.Errorf("wait %d is %s, want at least half of %s and no more than that", n, got, bound)
					}
					bound = min(2*bound, c.most)
				}
				c.b.Reset()
			}
		})
	}
}

func TestWaitsAreNotInStep(t *testing.T) {
	seen := map[time.Duration]bool{}
	for range 100 {
		var b Backoff
		seen[b.Next()] = true
	}
	if len(seen) < 10 {
		t.Errorf("a hundred first waits have %d values", len(seen))
	}
}

func TestASleepEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		if Sleep(ctx, time.Hour) || time.Since(start) != time.Second {
			t.Errorf("ended after %s", time.Since(start))
		}
		if !Sleep(t.Context(), time.Minute) || time.Since(start) != time.Minute+time.Second {
			t.Errorf("the second ended after %s", time.Since(start))
		}
	})
}

func TestAsMuchOfAWaitIsChanceAsIsAskedFor(t *testing.T) {
	const least, most = 100 * time.Millisecond, 15 * time.Second
	for _, failures := range []int{1, 5, 9, 40, 1 << 40} {
		bound := Bound(least, most, failures)
		for _, chance := range []float64{0, 0.25, 1} {
			shortest, longest := bound, time.Duration(0)
			for range 2000 {
				d := Wait(least, most, failures, chance)
				shortest, longest = min(shortest, d), max(longest, d)
			}
			fixed := bound - time.Duration(chance*float64(bound))
			if shortest < fixed || longest > bound || chance > 0 && longest-shortest < time.Duration(0.9*chance*float64(bound)) {
				t.Errorf("after %d failures, with %v of chance: between %s and %s, want all of %s to %s", failures, chance, shortest, longest, fixed, bound)
			}
		}
	}
}
