package listener

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

type stepKey struct{}

func TestAStepIsAContextLikeAnyOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		parent := context.WithValue(t.Context(), stepKey{}, "value")
		step := func(d time.Duration) *stepContext {
			return &stepContext{parent: parent, deadline: time.Now().Add(d)}
		}
		late := step(time.Second)
		defer late.end()
		if d, ok := late.Deadline(); !ok || time.Until(d) != time.Second || late.Value(stepKey{}) != "value" || late.Err() != nil {
			t.Errorf("deadline %v, %t, value %v, error %v", d, ok, late.Value(stepKey{}), late.Err())
		}
		child, cancel := context.WithCancel(late)
		defer cancel()
		<-child.Done()
		if !errors.Is(late.Err(), context.DeadlineExceeded) || !errors.Is(child.Err(), context.DeadlineExceeded) {
			t.Errorf("ended with %v, child with %v", late.Err(), child.Err())
		}

		waited := step(time.Hour)
		child, cancel = context.WithCancel(waited)
		defer cancel()
		waited.end()
		<-child.Done()
		if !errors.Is(waited.Err(), context.Canceled) || child.Value(stepKey{}) != "value" {
			t.Errorf("ended with %v", waited.Err())
		}

		unasked := step(time.Hour)
		unasked.end()
		<-unasked.Done()
		unasked.end()
	})
}

func TestAStepThatNobodyWaitsForCostsNothing(t *testing.T) {
	if n := testing.AllocsPerRun(100, func() {
		step := &stepContext{parent: t.Context(), deadline: time.Now()}
		_, _ = step.Deadline()
		step.end()
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
