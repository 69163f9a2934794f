package upstream

import (
	"context"
	"errors"
	"math"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// Behaviour 16.
func TestConnectionsSpreadByPolicyAndWeight(t *testing.T) {
	equal := instances(4)
	heavy := instances(4)
	heavy[1].Weight = 2
	steep := instances(11)
	steep[0].Weight = 10
	unset := instances(4)
	unset[2].Weight = 0
	for _, c := range []struct {
		balance string
		name    string
		eps     []Endpoint
		n       int
		share   []int // of n
		slack   int
	}{
		{LeastConnections, "equal", equal, 400, []int{100, 100, 100, 100}, 5},
		{LeastConnections, "one of weight 2", heavy, 500, []int{100, 200, 100, 100}, 12},
		{LeastConnections, "one of weight 10 among ten of 1", steep, 1000, []int{500, 50, 50, 50, 50, 50, 50, 50, 50, 50, 50}, 25},
		{LeastConnections, "an unset weight is 1", unset, 400, []int{100, 100, 100, 100}, 5},
		{RoundRobin, "equal", equal, 400, []int{100, 100, 100, 100}, 1},
		{RoundRobin, "one of weight 2", heavy, 500, []int{100, 200, 100, 100}, 1},
		{Random, "equal", equal, 4000, []int{1000, 1000, 1000, 1000}, 100},
		{Random, "one of weight 2", heavy, 5000, []int{1000, 2000, 1000, 1000}, 100},
		{Ordered, "first", equal, 400, []int{400, 0, 0, 0}, 0},
	} {
		t.Run(c.balance+"/"+c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				u := start(t, Options{Resolver: newFakeResolver(c.eps...), Balance: c.balance})
				got := held(t, u, c.n)
				for i, ep := range c.eps {
					if n := got[ep.ID]; n < c.share[i]-c.slack || n > c.share[i]+c.slack {
						t.Errorf("%s has %d of %d connections, want %d give or take %d", ep.ID, n, c.n, c.share[i], c.slack)
					}
				}
			})
		})
	}
}

// A connection that one instance refuses takes the next turn, and the one after it
// the turn after that: who stands behind a bad instance has no double load.
func TestInTurnNobodyHasTheLoadOfAnInstanceThatRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		n.fail("n2", refuse)
		u := start(t, Options{Resolver: newFakeResolver(instances(4)...), Dial: n.Dial, Balance: RoundRobin, MaxFailures: math.MaxInt}) // never set aside
		got := held(t, u, 300)
		for _, id := range []string{"n1", "n3", "n4"} {
			if got[id] < 99 || got[id] > 101 {
				t.Errorf("%s has %d of 300 connections, want a third", id, got[id])
			}
		}
		if tried := n.count("n2"); tried < 99 || tried > 101 {
			t.Errorf("the one that refuses was tried %d times, want each fourth turn", tried)
		}
	})
}

func TestLeastConnectionsFillsWhatHasEmptied(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := start(t, Options{Resolver: newFakeResolver(instances(4)...)})
		conns := make(map[string][]*Conn)
		for range 400 {
			c := dial(t, u)
			conns[c.Endpoint.ID] = append(conns[c.Endpoint.ID], c)
		}
		for _, c := range conns["n3"] {
			c.Release()
		}
		if got := held(t, u, 60)["n3"]; got < 20 {
			t.Errorf("%d of 60 connections went to the empty instance", got)
		}
	})
}

func TestDialsInFlightCountAsLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		slow := func(context.Context) error { <-time.After(time.Second); return nil }
		for _, ep := range instances(4) {
			n.fail(ep.ID, slow)
		}
		u := start(t, Options{Resolver: newFakeResolver(instances(4)...), Dial: n.Dial})
		var wg sync.WaitGroup
		for range 400 {
			wg.Go(func() { dial(t, u) })
		}
		wg.Wait()
		for _, in := range u.Status().Instances {
			if in.Live < 80 || in.Live > 120 {
				t.Errorf("%s has %d of 400 connections that were dialled at once", in.ID, in.Live)
			}
		}
	})
}

// Behaviour 16, the part of the set.
func TestAnInstanceThatLeavesTheSetGetsNoMoreConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		eps := instances(3)
		r := newFakeResolver(eps...)
		u := start(t, Options{Resolver: r})
		held(t, u, 30)
		r.give(Set{Endpoints: eps[1:]})
		synctest.Wait()
		if got := held(t, u, 200)["n1"]; got != 0 {
			t.Errorf("%d connections to an instance that is not in the set", got)
		}
		r.give(Set{})
		synctest.Wait()
		if _, err := u.Dial(t.Context()); !errors.Is(err, ErrNoEndpoints) {
			t.Errorf("with an empty set: %v", err)
		}
		r.give(Set{Endpoints: eps})
		synctest.Wait()
		dial(t, u)
	})
}

// Behaviour 29.
func TestTheNearestInstanceIsUsedUntilItFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		r := newFakeResolver()
		r.give(Set{Endpoints: instances(3), Ordered: true})
		u := start(t, Options{Resolver: r, Dial: n.Dial, Balance: LeastConnections})
		if got := held(t, u, 30); got["n1"] != 30 {
			t.Errorf("connections by instance: %v, want all at the nearest", got)
		}
		n.fail("n1", refuse)
		if got := held(t, u, 30); got["n2"] != 30 {
			t.Errorf("connections by instance: %v, want all at the next", got)
		}
		n.fail("n1", nil)
		after(2 * time.Second)
		if got := held(t, u, 30); got["n1"] != 30 {
			t.Errorf("connections by instance: %v, want all at the nearest again", got)
		}
		if got := u.Status().Balance; got != Ordered {
			t.Errorf("policy in effect is %s", got)
		}
		r.give(Set{Endpoints: instances(3)})
		synctest.Wait()
		if got := held(t, u, 30); got["n3"] == 0 || got["n2"] == 0 {
			t.Errorf("connections by instance: %v, want them spread once the set is not ordered", got)
		}
	})
}

func TestAnInstanceListedTwiceCountsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		eps := instances(2)
		u := start(t, Options{Resolver: newFakeResolver(append(eps, eps[0])...), Balance: RoundRobin})
		if got := held(t, u, 40); got["n1"] != 20 {
			t.Errorf("connections by instance: %v", got)
		}
	})
}

func TestUpdateSwapsThePolicyAndKeepsTheRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := Options{Resolver: newFakeResolver(instances(2)...)}
		u := start(t, o)
		synctest.Wait()
		u.Update(Options{Name: "other", Balance: Ordered})
		if got := held(t, u, 10); got["n1"] != 10 {
			t.Errorf("connections by instance: %v, want them ordered", got)
		}
		u.Update(Options{Balance: "fastest"})
		if s := u.Status(); s.Balance != Ordered || s.Name != "db" {
			t.Errorf("an unknown policy or another name was taken: %s, %s", s.Balance, s.Name)
		}
	})
}

func TestMistakesInOptionsAreNamed(t *testing.T) {
	for _, c := range []struct {
		name string
		o    Options
		want string
	}{
		{"no resolver", Options{Name: "db", Dial: newNetwork().Dial}, "no resolver"},
		{"no dial function", Options{Name: "db", Resolver: newFakeResolver()}, "no dial function"},
		{"an unknown policy", Options{Name: "db", Resolver: newFakeResolver(), Dial: newNetwork().Dial, Balance: "fastest"}, `"fastest"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := New(c.o); err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "upstream db: ") {
				t.Errorf("error %v, want it to name %s", err, c.want)
			}
		})
	}
}

func TestAScheduleGivesEveryWeightItsTurnsSpreadEvenly(t *testing.T) {
	slots := func(weights ...int64) []*instanceSlot {
		var s []*instanceSlot
		for _, w := range weights {
			s = append(s, &instanceSlot{instance: &instance{}, weight: w})
		}
		return s
	}
	if got := schedule(slots(3, 3, 3)); got != nil {
		t.Errorf("equal weights have a schedule: %v", got)
	}
	if got, want := schedule(slots(1, 3)), []int32{1, 0, 1, 1}; !reflect.DeepEqual(got, want) {
		t.Errorf("schedule of 1 and 3: %v, want %v", got, want)
	}
	count := make(map[int32]int)
	got := schedule(slots(65535, 65535, 1, 20000))
	for _, i := range got {
		count[i]++
	}
	if len(got) > 1030 || count[2] != 1 || count[0] != count[1] || count[3] < count[0]*28/100 || count[3] > count[0]*32/100 {
		t.Errorf("schedule of great weights: %v of %d turns", count, len(got))
	}
}

func TestWeightsBeyondReasonAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		eps := instances(3)
		eps[0].Weight, eps[1].Weight, eps[2].Weight = math.MaxInt, math.MaxInt/2, math.MinInt
		for _, by := range []string{LeastConnections, RoundRobin, Random, Ordered} {
			u := start(t, Options{Resolver: newFakeResolver(eps...), Dial: n.Dial, Balance: by})
			for range 20 {
				dial(t, u)
			}
		}
	})
}
