package watch

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestTheFirstAnswerComesWithoutACursorAndTheNextBlocksOnItsIndex(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(func(ctx context.Context, n int, cur Cursor, wait time.Duration) (string, Cursor, error) {
			if n == 1 {
				return "one", Cursor{Index: 7}, nil
			}
			return "one", Cursor{Index: 7}, hold(ctx, wait)
		})
		w := New(Options[string]{Name: "leaf", Fetch: f.Fetch, Equal: equal})
		run(t, w)

		got, err := w.Wait(t.Context())
		if got != "one" || err != nil {
			t.Fatalf("Wait gave %q, %v", got, err)
		}
		after(12 * time.Minute)
		want := []request{
			{0, Cursor{}, time.Second},
			{minGap, Cursor{Index: 7}, 5 * time.Minute},
			{minGap + 5*time.Minute, Cursor{Index: 7}, 5 * time.Minute},
			{minGap + 10*time.Minute, Cursor{Index: 7}, 5 * time.Minute},
		}
		if got := f.requests(); !reflect.DeepEqual(got, want) {
			t.Errorf("asked %v, want %v", got, want)
		}
	})
}

func TestAChangeIsSeenWhenItHappens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(func(ctx context.Context, n int, cur Cursor, wait time.Duration) (string, Cursor, error) {
			switch n {
			case 1:
				return "one", Cursor{Index: 7}, nil
			case 2:
				return "two", Cursor{Index: 9}, hold(ctx, 3*time.Minute)
			}
			return "two", Cursor{Index: 9}, hold(ctx, wait)
		})
		w := New(Options[string]{Fetch: f.Fetch, Equal: equal})
		first := w.Changed()
		if _, ok := w.Latest(); ok {
			t.Error("there is a value before Run")
		}
		run(t, w)
		synctest.Wait()
		if !closed(first) {
			t.Error("the first value was no change")
		}
		changed := w.Changed()
		after(3*time.Minute + minGap - time.Second)
		if closed(changed) {
			t.Error("a change was told before there was one")
		}
		after(time.Second)
		if got, _ := w.Latest(); !closed(changed) || got != "two" {
			t.Errorf("changed %t, latest %q; want a change to two", closed(changed), got)
		}
		changed = w.Changed()
		after(20 * time.Minute)
		if closed(changed) {
			t.Error("an equal answer was told as a change")
		}
	})
}

func TestWithoutEqualEveryAnswerIsAChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(func(ctx context.Context, n int, cur Cursor, wait time.Duration) (string, Cursor, error) {
			if n == 1 {
				return "same", Cursor{Index: 3}, nil
			}
			return "same", Cursor{Index: 3}, hold(ctx, wait)
		})
		w := New(Options[string]{Fetch: f.Fetch})
		run(t, w)
		synctest.Wait()
		changed := w.Changed()
		after(6 * time.Minute)
		if !closed(changed) {
			t.Error("the second answer was no change")
		}
	})
}

func TestIndexRules(t *testing.T) {
	for _, c := range []struct {
		name       string
		asked, got Cursor
		want       Cursor
	}{
		{"a higher index is taken", Cursor{Index: 5}, Cursor{Index: 9}, Cursor{Index: 9}},
		{"the same index is kept", Cursor{Index: 5}, Cursor{Index: 5}, Cursor{Index: 5}},
		{"an index that goes back starts over", Cursor{Index: 5}, Cursor{Index: 4}, Cursor{}},
		{"an index that goes back to 0 starts over", Cursor{Index: 5}, Cursor{}, Cursor{}},
		{"a first index of 0 becomes 1", Cursor{}, Cursor{}, Cursor{Index: 1}},
		{"a hash is taken as it is", Cursor{Hash: "b4"}, Cursor{Hash: "a1"}, Cursor{Hash: "a1"}},
		{"a hash goes before an index", Cursor{Index: 8}, Cursor{Index: 2, Hash: "a1"}, Cursor{Index: 2, Hash: "a1"}},
		{"a hash that vanished starts over", Cursor{Index: 8, Hash: "a1"}, Cursor{}, Cursor{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := next(c.asked, c.got); got != c.want {
				t.Errorf("next(%v, %v) = %v, want %v", c.asked, c.got, got, c.want)
			}
		})
	}
}

func TestAValueSurvivesErrorsAndAges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		down := errors.New("connection refused")
		f := newFake(func(ctx context.Context, n int, cur Cursor, wait time.Duration) (string, Cursor, error) {
			switch n {
			case 1:
				return "one", Cursor{Index: 7}, nil
			case 2:
				_ = hold(ctx, time.Minute)
				return "", Cursor{}, down
			}
			if time.Now().Before(began.Add(11 * time.Minute)) {
				return "", Cursor{}, down
			}
			if cur == (Cursor{}) {
				return "one", Cursor{Index: 2}, nil
			}
			return "one", Cursor{Index: 2}, hold(ctx, wait)
		})
		w := New(Options[string]{Name: "roots", Fetch: f.Fetch, Equal: equal})
		run(t, w)

		after(30 * time.Second)
		s := w.Status()
		if !s.Has || s.Err != nil || s.Failures != 0 || time.Since(s.Fresh) != 0 || s.Name != "roots" {
			t.Errorf("while a question is open: %+v", s)
		}
		after(10 * time.Minute)
		v, ok := w.Latest()
		s = w.Status()
		if v != "one" || !ok || !s.Has || !errors.Is(s.Err, down) || s.Failures < 10 {
			t.Errorf("after errors: %q, %t, %+v", v, ok, s)
		}
		if broke := began.Add(time.Minute + minGap); !s.Fresh.Equal(broke) {
			t.Errorf("fresh %s after the start, want when the question broke", s.Fresh.Sub(began))
		}
		after(30*time.Second + DefaultMaxBackoff)
		if s = w.Status(); s.Err != nil || s.Failures != 0 || time.Since(s.Fresh) != 0 {
			t.Errorf("%s after the agent came back: %+v", DefaultMaxBackoff, s)
		}
	})
}

func TestWaitSaysWhyThereIsNoValue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		denied := errors.New("403 Permission denied")
		f := newFake(func(context.Context, int, Cursor, time.Duration) (string, Cursor, error) {
			return "", Cursor{}, denied
		})
		w := New(Options[string]{Name: "leaf", Fetch: f.Fetch})
		run(t, w)
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		_, err := w.Wait(ctx)
		if !errors.Is(err, denied) || !errors.Is(err, context.DeadlineExceeded) || !strings.HasPrefix(err.Error(), "waiting for leaf: ") {
			t.Errorf("Wait: %v", err)
		}
	})
}

func closed(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}
