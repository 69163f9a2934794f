package watch

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// No agent, however broken, may make a watch spin.
func TestNoPatternOfAnswersMakesTheWatchSpin(t *testing.T) {
	broken := errors.New("500")
	type answer = func(ctx context.Context, n int, cur Cursor, wait time.Duration) (string, Cursor, error)
	word := func(n int) string { return string(rune('a' + n%7)) }
	for _, c := range []struct {
		name   string
		most   int // requests in ten minutes
		answer answer
	}{
		{"the same index at once", 150, func(context.Context, int, Cursor, time.Duration) (string, Cursor, error) {
			return "same", Cursor{Index: 42}, nil
		}},
		{"index 0 at once", 300, func(context.Context, int, Cursor, time.Duration) (string, Cursor, error) {
			return "same", Cursor{}, nil
		}},
		{"the same hash at once", 150, func(context.Context, int, Cursor, time.Duration) (string, Cursor, error) {
			return "same", Cursor{Hash: "5f"}, nil
		}},
		{"an index that goes back each time", 300, func(_ context.Context, n int, _ Cursor, _ time.Duration) (string, Cursor, error) {
			return "same", Cursor{Index: uint64(1_000_000 - n)}, nil
		}},
		{"an index that jumps to and fro", 300, func(_ context.Context, n int, _ Cursor, _ time.Duration) (string, Cursor, error) {
			return "same", Cursor{Index: uint64(100 - 50*(n%2))}, nil
		}},
		{"an index that runs away with nothing new", 670, func(_ context.Context, n int, _ Cursor, _ time.Duration) (string, Cursor, error) {
			return "same", Cursor{Index: uint64(n)}, nil
		}},
		{"a value that changes all the time", 2401, func(_ context.Context, n int, _ Cursor, _ time.Duration) (string, Cursor, error) {
			return word(n), Cursor{Index: uint64(n)}, nil
		}},
		{"a value that changes under one index", 2401, func(_ context.Context, n int, _ Cursor, _ time.Duration) (string, Cursor, error) {
			return word(n), Cursor{Index: 5}, nil
		}},
		{"errors at once", 300, func(context.Context, int, Cursor, time.Duration) (string, Cursor, error) {
			return "", Cursor{}, broken
		}},
		{"every other answer an error", 300, func(_ context.Context, n int, _ Cursor, _ time.Duration) (string, Cursor, error) {
			if n%2 == 0 {
				return "", Cursor{}, broken
			}
			return word(n), Cursor{Index: uint64(n)}, nil
		}},
		{"an error for each question that blocks", 300, func(_ context.Context, n int, cur Cursor, _ time.Duration) (string, Cursor, error) {
			if cur != (Cursor{}) {
				return "", Cursor{}, broken
			}
			return word(n), Cursor{Index: uint64(n)}, nil
		}},
		{"half a second where five minutes were asked", 150, func(ctx context.Context, _ int, _ Cursor, _ time.Duration) (string, Cursor, error) {
			return "same", Cursor{Index: 42}, hold(ctx, time.Second/2)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake(c.answer)
				run(t, New(Options[string]{Fetch: f.Fetch, Equal: equal}))
				after(10 * time.Minute)
				asked := f.requests()
				if len(asked) > c.most {
					t.Errorf("%d requests in ten minutes, want at most %d", len(asked), c.most)
				}
				for i := 1; i < len(asked); i++ {
					if gap := asked[i].at - asked[i-1].at; gap < minGap {
						t.Fatalf("requests %d and %d are %s apart", i, i+1, gap)
					}
				}
			})
		})
	}
}

func TestWithoutEqualTheSameIndexSlowsDownToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(func(context.Context, int, Cursor, time.Duration) (string, Cursor, error) {
			return "same", Cursor{Index: 42}, nil
		})
		run(t, New(Options[string]{Fetch: f.Fetch}))
		after(10 * time.Minute)
		if n := len(f.requests()); n > 150 {
			t.Errorf("%d requests in ten minutes", n)
		}
	})
}

func TestAnAgentThatCutsTheWaitShortIsAskedAgainWithoutDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(func(ctx context.Context, _ int, _ Cursor, _ time.Duration) (string, Cursor, error) {
			return "same", Cursor{Index: 42}, hold(ctx, 6*time.Second)
		})
		run(t, New(Options[string]{Fetch: f.Fetch, Equal: equal}))
		after(time.Minute)
		for i, r := range f.requests() {
			if want := time.Duration(i) * 6 * time.Second; r.at != want {
				t.Errorf("request %d at %s, want %s", i+1, r.at, want)
			}
		}
	})
}

func TestBackoffIsFullJitterBetweenItsBounds(t *testing.T) {
	w := New(Options[string]{MinBackoff: 100 * time.Millisecond, MaxBackoff: 15 * time.Second})
	for _, c := range []struct {
		failures int
		bound    time.Duration
	}{
		{1, 100 * time.Millisecond}, {2, 200 * time.Millisecond}, {5, 1600 * time.Millisecond},
		{8, 12800 * time.Millisecond}, {9, 15 * time.Second}, {40, 15 * time.Second}, {1 << 40, 15 * time.Second},
	} {
		var lowest, highest = c.bound, time.Duration(0)
		for range 2000 {
			d := w.backoff(c.failures)
			lowest, highest = min(lowest, d), max(highest, d)
		}
		if highest > c.bound || highest < c.bound*9/10 || lowest > c.bound/10 {
			t.Errorf("after %d failures: between %s and %s, want all of 0 to %s", c.failures, lowest, highest, c.bound)
		}
	}
}

func TestAnAgentThatComesBackIsAskedWithinTheLongestBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		f := newFake(func(ctx context.Context, _ int, cur Cursor, wait time.Duration) (string, Cursor, error) {
			switch {
			case time.Since(began) < 10*time.Minute:
				return "", Cursor{}, errors.New("connection refused")
			case cur == (Cursor{}):
				return "back", Cursor{Index: 3}, nil
			}
			return "back", Cursor{Index: 3}, hold(ctx, wait)
		})
		w := New(Options[string]{Fetch: f.Fetch, Equal: equal})
		run(t, w)
		after(10*time.Minute - time.Nanosecond)
		if n := len(f.requests()); n > 250 {
			t.Errorf("%d requests while the agent was down for ten minutes", n)
		}
		after(DefaultMaxBackoff + time.Millisecond)
		if v, _ := w.Latest(); v != "back" {
			t.Errorf("no value %s after the agent came back", DefaultMaxBackoff)
		}
	})
}

func TestAQuestionThatHangsIsGivenUpAtTheClientsLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(func(ctx context.Context, n int, cur Cursor, _ time.Duration) (string, Cursor, error) {
			if cur == (Cursor{}) && n == 1 {
				return "one", Cursor{Index: 7}, nil
			}
			<-ctx.Done()
			return "", Cursor{}, ctx.Err()
		})
		w := New(Options[string]{Fetch: f.Fetch, Equal: equal, Wait: 160 * time.Second})
		run(t, w)
		limit := 160*time.Second + 10*time.Second + grace
		after(minGap + limit - time.Millisecond)
		if s := w.Status(); s.Err != nil {
			t.Errorf("given up early: %+v", s)
		}
		asked := time.Now().Add(time.Millisecond - limit)
		after(time.Millisecond)
		s := w.Status()
		if !errors.Is(s.Err, context.DeadlineExceeded) || !errors.Is(s.Err, errSilent) {
			t.Errorf("after the limit: %+v", s)
		}
		// Nobody vouched for the value since the question was asked.
		if !s.Fresh.Equal(asked) {
			t.Errorf("fresh %s after the question that hung", s.Fresh.Sub(asked))
		}
		if v, ok := w.Latest(); v != "one" || !ok {
			t.Errorf("the value was lost: %q", v)
		}
	})
}

func TestAPolledWatchAsksWithoutACursorAtItsPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(func(_ context.Context, n int, _ Cursor, _ time.Duration) (string, Cursor, error) {
			return "same", Cursor{Index: uint64(n)}, nil
		})
		w := New(Options[string]{Fetch: f.Fetch, Equal: equal, Poll: 10 * time.Second})
		run(t, w)
		after(10 * time.Minute)
		asked := f.requests()
		if n := len(asked); n < 54 || n > 67 {
			t.Errorf("%d requests in ten minutes, want about 60", n)
		}
		for i, r := range asked {
			if r.cur != (Cursor{}) || r.wait != 0 {
				t.Fatalf("request %d: %+v, want neither cursor nor wait", i+1, r)
			}
			if i > 0 && (r.at-asked[i-1].at < 9*time.Second || r.at-asked[i-1].at > 11*time.Second) {
				t.Errorf("requests %d and %d are %s apart", i, i+1, r.at-asked[i-1].at)
			}
		}
		if s := w.Status(); time.Since(s.Fresh) != time.Since(began(f, asked)) {
			t.Errorf("fresh %s ago, want the last answer's age", time.Since(s.Fresh))
		}
	})
}

// began is when the last of the requests was made.
func began(f *fake[string], asked []request) time.Time { return f.start.Add(asked[len(asked)-1].at) }
