package upstream

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestOneBadConnectionDoesNotKeepAnInstanceThatAnswersOnProbation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := start(t, Options{Resolver: newFakeResolver(instances(2)...), Balance: RoundRobin})
		bad := dial(t, u)
		bad.Failed(errors.New("ended at once"))
		after(2 * time.Second)
		for range 40 { // each is answered and ends soon
			c := dial(t, u)
			after(10 * time.Millisecond)
			c.Answered()
		}
		by := held(t, u, 20)
		if by["n1"] < 8 || by["n2"] < 8 {
			t.Errorf("%v of 20 connections, want half each", by)
		}
	})
}
