package watch

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// schedule runs a Scheduler until the test ends.
func schedule(t *testing.T) *Scheduler {
	t.Helper()
	s := NewScheduler()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != context.Canceled {
			t.Errorf("Run returned %v, want the context's error", err)
		}
	})
	return s
}

func never() bool { return false }

// slow is an agent that takes so long for each answer.
func slow(d time.Duration) *fake[string] {
	return newFake(func(ctx context.Context, _ int, _ Cursor, _ time.Duration) (string, Cursor, error) {
		return "same", Cursor{Index: 7}, hold(ctx, d)
	})
}

func TestAThousandScheduledWatchesAreAskedOneAtATimeTheUrgentOnesFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := schedule(t)
		var asking atomic.Int32
		var order []int
		for i := range 1000 {
			w := New(Options[string]{Equal: equal, Poll: time.Hour, Fetch: func(ctx context.Context, _ Cursor, _ time.Duration) (string, Cursor, error) {
				if asking.Add(1) > 1 {
					t.Error("two questions at a time")
				}
				order = append(order, i)
				err := hold(ctx, time.Millisecond)
				asking.Add(-1)
				return "same", Cursor{}, err
			}})
			w.Schedule(s, time.Second, func() bool { return i == 990 })
		}
		after(3 * time.Second)
		if len(order) != 1000 || order[0] != 990 {
			t.Errorf("%d were asked, %d first", len(order), order[0])
		}
	})
}

func TestAScheduledWatchIsAskedAtItsPaceWithoutACursor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := slow(0)
		w := New(Options[string]{Fetch: f.Fetch, Equal: equal, Pace: func() time.Duration { return 10 * time.Second }})
		w.Schedule(schedule(t), 300*time.Millisecond, never)
		after(10 * time.Minute)
		asked := f.requests()
		if n := len(asked); n < 54 || n > 67 || asked[0].at != 300*time.Millisecond {
			t.Errorf("%d requests in ten minutes, the first at %s", n, asked[0].at)
		}
		for i, r := range asked {
			if r.cur != (Cursor{}) || r.wait != 0 {
				t.Fatalf("request %d: %+v, want neither cursor nor wait", i+1, r)
			}
		}
		w.Unschedule()
		after(10 * time.Minute)
		if n := len(f.requests()); n != len(asked) {
			t.Errorf("%d requests after it was taken out", n-len(asked))
		}
	})
}

func TestRefreshHurriesAScheduledWatchAndDoesNotSpin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := slow(10 * time.Millisecond)
		w := New(Options[string]{Fetch: f.Fetch, Equal: equal, Poll: time.Hour})
		w.Schedule(schedule(t), time.Hour, never)
		after(time.Second)
		w.Refresh()
		after(20 * time.Millisecond)
		if n := len(f.requests()); n != 1 {
			t.Fatalf("%d requests after a refresh", n)
		}
		for range 10_000 {
			w.Refresh()
			after(time.Millisecond)
		}
		if n := len(f.requests()); n < 30 || n > 42 {
			t.Errorf("%d requests in ten seconds, want 4 a second", n)
		}
	})
}

func TestConfirmWaitsForAQuestionThatIsNewerThanTheCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := slow(time.Second)
		w := New(Options[string]{Fetch: f.Fetch, Equal: equal, Poll: time.Hour})
		w.Schedule(schedule(t), 0, never)
		after(500 * time.Millisecond)
		began := time.Now()
		if err := w.Confirm(t.Context(), w.Asked()); err != nil || time.Since(began) != 1500*time.Millisecond {
			t.Errorf("confirmed after %s: %v", time.Since(began), err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if err := w.Confirm(ctx, w.Asked()); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("confirmed before there was an answer: %v", err)
		}
		asked := w.Asked()
		w.Refresh()
		after(3 * time.Second)
		before := len(f.requests())
		if err := w.Confirm(t.Context(), asked); err != nil || len(f.requests()) != before {
			t.Errorf("what has been answered since was asked for again: %d requests, %v", len(f.requests())-before, err)
		}
	})
}

func TestAQuestionThatIsTakenOutIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := slow(time.Hour)
		s := schedule(t)
		w := New(Options[string]{Fetch: f.Fetch, Equal: equal, Poll: time.Second})
		w.Schedule(s, 0, never)
		after(time.Second)
		w.Unschedule()
		other := slow(0)
		next := New(Options[string]{Fetch: other.Fetch, Equal: equal, Poll: time.Second})
		next.Schedule(s, 0, never)
		after(0)
		if len(other.requests()) != 1 {
			t.Error("what was taken out is still waited for")
		}
		if s := w.Status(); s.Err != nil {
			t.Errorf("it counts as a failure: %+v", s)
		}
	})
}

// down is an agent that cannot be reached until it is back.
type down struct{ back chan struct{} }

func (d down) Error() string              { return "connection refused" }
func (d down) Recovered() <-chan struct{} { return d.back }

func TestScheduledWatchesAreAskedSoonAfterAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := schedule(t)
		outage := down{make(chan struct{})}
		var all []*Watch[string]
		for i := range 100 {
			f := newFake(func(context.Context, int, Cursor, time.Duration) (string, Cursor, error) {
				if !closed(outage.back) {
					return "", Cursor{}, fmt.Errorf("asking: %w", outage)
				}
				return "up", Cursor{}, nil
			})
			w := New(Options[string]{Fetch: f.Fetch, Equal: equal, Poll: time.Hour, MinBackoff: time.Hour, MaxBackoff: 2 * time.Hour})
			w.Schedule(s, time.Duration(i)*time.Millisecond, never)
			all = append(all, w)
		}
		after(time.Second)
		close(outage.back)
		after(spread + minGap)
		for i, w := range all {
			if v, _ := w.Latest(); v != "up" {
				t.Fatalf("watch %d has not been asked: %+v", i, w.Status())
			}
		}
	})
}

func TestNotifyTellsOfChangesAndOfTheBeginAndEndOfFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		told := 0
		f := newFake(func(_ context.Context, n int, _ Cursor, _ time.Duration) (string, Cursor, error) {
			if n >= 4 && n < 8 {
				return "", Cursor{}, errors.New("500")
			}
			return "same", Cursor{}, nil
		})
		w := New(Options[string]{Fetch: f.Fetch, Equal: equal, Poll: time.Second, Notify: func() { told++ }})
		w.Schedule(schedule(t), 0, never)
		after(time.Minute)
		if told != 3 {
			t.Errorf("told %d times, want of the first value, the first failure and its end", told)
		}
	})
}
