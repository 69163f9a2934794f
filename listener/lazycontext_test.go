package listener

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

type contextKey struct{}

func TestALazyContextIsAContextLikeAnyOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		parent := context.WithValue(t.Context(), contextKey{}, "value")
		lazy := func(d time.Duration) *lazyContext {
			return &lazyContext{parent: parent, deadline: time.Now().Add(d)}
		}
		late := lazy(time.Second)
		defer late.cancel()
		if d, ok := late.Deadline(); !ok || time.Until(d) != time.Second || late.Value(contextKey{}) != "value" || late.Err() != nil {
			t.Errorf("deadline %v, %t, value %v, error %v", d, ok, late.Value(contextKey{}), late.Err())
		}
		child, cancel := context.WithCancel(late)
		defer cancel()
		<-child.Done()
		if !errors.Is(late.Err(), context.DeadlineExceeded) || !errors.Is(child.Err(), context.DeadlineExceeded) {
			t.Errorf("ended with %v, child with %v", late.Err(), child.Err())
		}

		waited := lazy(time.Hour)
		child, cancel = context.WithCancel(waited)
		defer cancel()
		waited.cancel()
		<-child.Done()
		if !errors.Is(waited.Err(), context.Canceled) || child.Value(contextKey{}) != "value" {
			t.Errorf("ended with %v", waited.Err())
		}

		unasked := lazy(time.Hour)
		unasked.cancel()
		<-unasked.Done()
		unasked.cancel()
	})
}

func TestALazyContextThatNobodyWaitsForCostsNothing(t *testing.T) {
	if n := testing.AllocsPerRun(100, func() {
		c := &lazyContext{parent: t.Context(), deadline: time.Now()}
		_, _ = c.Deadline()
		c.cancel()
	}); n > 1 {
		t.Errorf("%v allocations", n)
	}
}

func TestAHandshakesContextEndsByTheClockAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &deadlineContext{t.Context(), time.Now().Add(time.Minute)}
		if c.Err() != nil || c.Done() != nil {
			t.Errorf("error %v", c.Err())
		}
		<-time.After(time.Minute)
		if !errors.Is(c.Err(), context.DeadlineExceeded) {
			t.Errorf("error %v", c.Err())
		}
	})
}
