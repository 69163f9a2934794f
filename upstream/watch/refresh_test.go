package watch

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestRefreshEndsAQuestionThatBlocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(func(ctx context.Context, n int, cur Cursor, wait time.Duration) (string, Cursor, error) {
			if cur == (Cursor{}) {
				return string(rune('a' + n)), Cursor{Index: 7}, nil
			}
			return "blocked", Cursor{Index: 7}, hold(ctx, wait)
		})
		w := New(Options[string]{Fetch: f.Fetch, Equal: equal})
		run(t, w)
		after(time.Minute)
		changed := w.Changed()
		w.Refresh()
		synctest.Wait()
		if got, _ := w.Latest(); got != "d" || !closed(changed) {
			t.Errorf("latest is %q, want the answer of the third request at once", got)
		}
		if s := w.Status(); s.Err != nil || s.Failures != 0 {
			t.Errorf("a refresh counts as a failure: %+v", s)
		}
		after(time.Minute)
		if n := len(f.requests()); n != 4 {
			t.Errorf("%d requests, want 4: the index is blocked on again", n)
		}
	})
}

func TestRefreshCutsABackoffShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		down := true
		f := newFake(func(context.Context, int, Cursor, time.Duration) (string, Cursor, error) {
			if down {
				return "", Cursor{}, errors.New("connection refused")
			}
			return "up", Cursor{Index: 7}, nil
		})
		w := New(Options[string]{Fetch: f.Fetch, Equal: equal, MinBackoff: time.Hour, MaxBackoff: time.Hour})
		run(t, w)
		after(minGap)
		down = false
		w.Refresh()
		synctest.Wait()
		if got, _ := w.Latest(); got != "up" {
			t.Errorf("latest is %q, want up without waiting", got)
		}
	})
}

func TestRefreshInALoopDoesNotSpin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(func(ctx context.Context, _ int, cur Cursor, wait time.Duration) (string, Cursor, error) {
			if cur == (Cursor{}) {
				return "same", Cursor{Index: 7}, hold(ctx, 100*time.Millisecond)
			}
			return "same", Cursor{Index: 7}, hold(ctx, wait)
		})
		w := New(Options[string]{Fetch: f.Fetch, Equal: equal})
		run(t, w)
		for range 10_000 {
			w.Refresh()
			after(time.Millisecond)
		}
		if n := len(f.requests()); n < 20 || n > 41 {
			t.Errorf("%d requests in ten seconds, want at most 4 a second and no starvation", n)
		}
		if _, ok := w.Latest(); !ok {
			t.Error("no question was left to end")
		}
	})
}

func TestRefreshBeforeRunDoesNoHarm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(func(ctx context.Context, _ int, cur Cursor, wait time.Duration) (string, Cursor, error) {
			if cur == (Cursor{}) {
				return "one", Cursor{Index: 7}, nil
			}
			return "one", Cursor{Index: 7}, hold(ctx, wait)
		})
		w := New(Options[string]{Fetch: f.Fetch, Equal: equal})
		w.Refresh()
		run(t, w)
		after(time.Minute)
		if n := len(f.requests()); n != 2 {
			t.Errorf("%d requests, want 2", n)
		}
	})
}

func TestAStreakOfFailuresIsLoggedOnceAndThenOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		f := newFake(func(ctx context.Context, n int, cur Cursor, wait time.Duration) (string, Cursor, error) {
			switch {
			case time.Since(began) < 5*time.Minute+30*time.Second:
				return "", Cursor{}, errors.New("connection refused")
			case cur == (Cursor{}):
				return "up", Cursor{Index: 7}, nil
			}
			return "up", Cursor{Index: 7}, hold(ctx, wait)
		})
		var lines log
		w := New(Options[string]{Name: "leaf", Fetch: f.Fetch, Equal: equal, Logger: lines.logger()})
		run(t, w)
		after(20 * time.Second)
		if n := lines.Count("[WARN]"); n != 1 {
			t.Errorf("%d warnings at first, want 1:\n%s", n, &lines)
		}
		after(20 * time.Minute)
		if n := lines.Count("[WARN]"); n < 5 || n > 6 {
			t.Errorf("%d warnings in five and a half minutes, want one a minute:\n%s", n, &lines)
		}
		if n := lines.Count("[INFO]"); n != 1 {
			t.Errorf("%d lines about the recovery, want 1:\n%s", n, &lines)
		}
		if lines.Count("retry_in=") == 0 || lines.Count("watch=leaf") == 0 || lines.Count(`error="connection refused"`) == 0 {
			t.Errorf("the lines do not say enough:\n%s", &lines)
		}
	})
}

func TestAnAgentThatFailsEveryOtherQuestionDoesNotFillTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(func(_ context.Context, _ int, cur Cursor, _ time.Duration) (string, Cursor, error) {
			if cur == (Cursor{}) {
				return "up", Cursor{Index: 7}, nil
			}
			return "", Cursor{}, errors.New("500")
		})
		var lines log
		run(t, New(Options[string]{Name: "leaf", Fetch: f.Fetch, Equal: equal, Logger: lines.logger()}))
		after(10 * time.Minute)
		if w, i := lines.Count("[WARN]"), lines.Count("[INFO]"); w > 11 || i > 11 || w < 9 {
			t.Errorf("%d warnings and %d recoveries in ten minutes, want one each a minute:\n%s", w, i, &lines)
		}
	})
}

func TestStoppingIsNoFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(func(ctx context.Context, n int, cur Cursor, wait time.Duration) (string, Cursor, error) {
			if cur == (Cursor{}) {
				return "one", Cursor{Index: 7}, nil
			}
			return "", Cursor{}, hold(ctx, wait)
		})
		var lines log
		w := New(Options[string]{Fetch: f.Fetch, Logger: lines.logger()})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- w.Run(ctx) }()
		after(time.Minute)
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Run returned %v", err)
		}
		stopped := time.Now()
		after(time.Hour)
		if s := w.Status(); s.Err != nil || !s.Fresh.Equal(stopped) {
			t.Errorf("after the end: %+v, want a value that ages since then", s)
		}
		if lines.Count("\n") > 0 {
			t.Errorf("stopping was logged:\n%s", &lines)
		}
	})
}

func TestLatestAndChangedWorkFromManyGoroutines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(func(_ context.Context, n int, _ Cursor, _ time.Duration) (int, Cursor, error) {
			return n, Cursor{Index: uint64(n)}, nil
		})
		w := New(Options[int]{Fetch: f.Fetch, Equal: func(a, b int) bool { return a == b }})
		run(t, w)
		seen := make(chan int)
		for range 8 {
			go func() {
				last := 0
				for last < 40 {
					changed := w.Changed()
					if v, ok := w.Latest(); ok && v < last {
						t.Errorf("%d after %d", v, last)
					} else {
						last = v
					}
					if last < 40 {
						<-changed
					}
				}
				seen <- last
			}()
		}
		for range 8 {
			if got := <-seen; got != 40 {
				t.Errorf("a reader ended at %d, want every change up to 40", got)
			}
		}
	})
}
