package catalog

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"connect-proxy/upstream"
)

// alone makes a Resolver of a service alone.
type alone struct {
	setWatch
	*upstream.Followers
}

// rested is a resolver for a service that nobody has used for long.
func rested(t *testing.T, a *agent, s setup) upstream.Resolver {
	t.Helper()
	a.answer("/v1/health/connect/db", reply{body: recorded(t, "1.15.4-health"), index: 34})
	c, f := s.catalog(t), new(upstream.Followers)
	r := alone{c.watchService(question{service: s.Name}, &usage{c: c}, f.Notify), f}
	t.Cleanup(r.Close)
	after(20 * time.Minute)
	return r
}

func TestAServiceAtRestIsAskedForOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, client := newAgent(t)
		rested(t, a, setup{Client: client, Name: "db"})
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
		r := rested(t, a, setup{Client: client, Name: "db"})
		u := start(t, r)
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
		r := rested(t, a, setup{Client: client, Name: "db"})
		u := start(t, r)
		after(0)
		a.answer("/v1/health/connect/db", reply{silent: true})
		for i, most := range []time.Duration{time.Second, 0, 0} {
			began := time.Now()
			dial(t, u).Release()
			if took := time.Since(began); took > most {
				t.Errorf("connection %d took %s, want %s at most", i+1, took, most)
			}
		}
	})
}

// u0 is an upstream whose chain redirects to another service, at rest for long.
func u0(t *testing.T) (*agent, Resolver) {
	t.Helper()
	a, client := newAgent(t)
	a.answer("/v1/discovery-chain/u0", reply{body: strings.ReplaceAll(recorded(t, "1.15.4-chain-default"), `spare`, `db`), index: 7})
	a.answer(healthOfDB, reply{body: "[]", index: 10})
	r := newChain(t, setup{Client: client, Name: "u0"})
	after(20 * time.Minute)
	if s, ok := r.Set(); !ok || len(s.Endpoints) != 0 {
		t.Fatalf("set %+v, %t", s, ok)
	}
	return a, r
}

func TestTheTargetsOfAChainInUseAreAskedForThoughTheAgentIsTooSlowForTheChain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, r := u0(t)
		a.answer("/v1/discovery-chain/u0", reply{silent: true})
		a.answer(healthOfDB, reply{body: recorded(t, "1.15.4-health"), index: 11})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		r.Use(ctx) // in vain
		after(cacheWait)
		a.answer("/v1/discovery-chain/u0", reply{status: 500, body: "No cluster leader"})
		if s := latest(t, r, 2*time.Second); len(s.Endpoints) != 3 {
			t.Errorf("%d instances two seconds after the agent could be asked", len(s.Endpoints))
		}
		before := len(a.requests(healthOfDB))
		after(10 * time.Second)
		if n := len(a.requests(healthOfDB)) - before; n < 8 {
			t.Errorf("a destination in use was asked for %d times in ten seconds", n)
		}
	})
}

func TestAnEmptyCacheOfTheAgentIsNotBelieved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, r := u0(t)
		a.answer(healthOfDB+"?cached", reply{body: "[]", index: 10})
		resolve(t, r)
		after(5 * time.Second)
		a.answer(healthOfDB, reply{body: recorded(t, "1.15.4-health"), index: 11})
		if s := latest(t, r, 1500*time.Millisecond); len(s.Endpoints) != 3 {
			t.Errorf("%d instances though there are three", len(s.Endpoints))
		}
		if s := latest(t, r, time.Minute); len(s.Endpoints) != 3 {
			t.Errorf("%d instances later", len(s.Endpoints))
		}
	})
}

func TestACacheThatDoesNotAnswerIsPassedBy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, r := u0(t)
		a.answer(healthOfDB, reply{body: recorded(t, "1.15.4-health"), index: 11})
		resolve(t, r)
		after(5 * time.Second)
		a.answer(healthOfDB+"?cached", reply{silent: true})
		a.answer("/v1/discovery-chain/u0?cached", reply{silent: true})
		a.answer(healthOfDB, reply{body: recorded(t, "1.15.4-health-subset"), index: 12})
		if s := latest(t, r, usePace+cacheWait+500*time.Millisecond); len(s.Endpoints) != 2 {
			t.Errorf("%d instances though there are two", len(s.Endpoints))
		}
	})
}

func TestAThousandDestinationsAtRestCostTwoQuestionsASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, client := newAgent(t)
		c := setup{Client: client}.catalog(t)
		for i := range 1000 {
			name := fmt.Sprintf("u%d", i)
			a.answer("/v1/health/connect/"+name, reply{body: "[]", index: 10})
			r := c.Chain(ChainOptions{Name: name})
			t.Cleanup(r.Close)
		}
		after(time.Second)
		// The first few, of which there are not many yet, may be asked for again soon.
		if n := a.total(); n < 2000 || n > 2020 {
			t.Errorf("%d questions in the first second, want one for each chain and one for its target", n)
		}
		after(20 * time.Minute)
		before := a.total()
		after(10 * time.Minute)
		if n := a.total() - before; n > 1700 {
			t.Errorf("%d questions in ten minutes", n)
		}
	})
}
