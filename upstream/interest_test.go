package upstream

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// rested is a resolver for a service that nobody has used for long.
func rested(t *testing.T, a *agent, o ServiceOptions) Resolver {
	t.Helper()
	a.answer("/v1/health/connect/db", reply{body: recorded(t, "1.15.4-health"), index: 34})
	r := NewService(o)
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	all.Go(func() { _ = r.Run(ctx) })
	t.Cleanup(func() { cancel(); all.Wait() })
	after(20 * time.Minute)
	return r
}

func TestAServiceAtRestIsAskedForOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, client := newAgent(t)
		rested(t, a, ServiceOptions{Client: client, Name: "db"})
		before := len(a.requests("/v1/health/connect/db"))
		after(20 * time.Minute)
		if n := len(a.requests("/v1/health/connect/db")) - before; n < 18 || n > 23 {
			t.Errorf("asked for %d times in 20 minutes", n)
		}
	})
}

func TestTheFirstConnectionAfterARestGoesByTheAgentsWordOfThisMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, client := newAgent(t)
		r := rested(t, a, ServiceOptions{Client: client, Name: "db"})
		n := newNetwork()
		u := start(t, Options{Name: "db", Resolver: r, Shared: true, Dial: n.Dial})
		after(0)
		before := len(a.requests("/v1/health/connect/db"))
		a.answer("/v1/health/connect/db", reply{body: recorded(t, "1.15.4-health-subset"), index: 35})
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() {
				c, err := u.Dial(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				if c.Endpoint.ID == "node-1/db-1-sidecar-proxy" {
					t.Errorf("dialled %s, which has gone", c.Endpoint.ID)
				}
				c.Release()
			})
		}
		all.Wait()
		// One for all, and another that says why an instance has gone.
		asked := len(a.requests("/v1/health/connect/db")) - before
		if asked != 2 {
			t.Errorf("twenty connections made %d questions", asked)
		}
		for range 100 {
			dial(t, u).Release()
		}
		if n := len(a.requests("/v1/health/connect/db")) - before; n != asked {
			t.Errorf("connections to a service in use made %d questions", n-asked)
		}
	})
}

func TestAnAgentThatDoesNotAnswerCostsTheFirstConnectionASecondAndNoOtherAny(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, client := newAgent(t)
		r := rested(t, a, ServiceOptions{Client: client, Name: "db"})
		n := newNetwork()
		u := start(t, Options{Name: "db", Resolver: r, Shared: true, Dial: n.Dial})
		after(0)
		a.answer("/v1/health/connect/db", reply{silent: true})
		for i, most := range []time.Duration{maxConfirm, 0, 0} {
			began := time.Now()
			dial(t, u).Release()
			if took := time.Since(began); took > most {
				t.Errorf("connection %d took %s, want %s at most", i+1, took, most)
			}
		}
	})
}

func TestAThousandResolversTakeTurnsThoseInUseFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var turns Turns
		var order []int
		var mu sync.Mutex
		first, err := turns.enter(t.Context(), false, func() bool { return false })
		if err != nil {
			t.Fatal(err)
		}
		var all sync.WaitGroup
		for i := range 1000 {
			all.Go(func() {
				done, err := turns.enter(t.Context(), false, func() bool { return i == 990 })
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				order = append(order, i)
				mu.Unlock()
				done()
			})
		}
		synctest.Wait()
		if n := len(order); n != 0 {
			t.Errorf("%d are let through at once", n)
		}
		far, err := turns.enter(t.Context(), true, func() bool { return false })
		if err != nil {
			t.Fatal(err)
		}
		far()
		first()
		all.Wait()
		if len(order) != 1000 || order[0] != 990 {
			t.Errorf("%d were let through, %d first", len(order), order[0])
		}
	})
}
