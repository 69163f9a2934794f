package catalog

import (
	"testing"
	"testing/synctest"
	"time"

	"connect-proxy/upstream"
)

func TestAQueryThatSortsKeepsItsOrder(t *testing.T) {
	for _, version := range []string{"1.5.3", "1.15.4"} {
		t.Run(version, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, client := newAgent(t)
				a.answer("/v1/query/nearest-shop/explain", reply{body: recorded(t, version+"-query-explain")})
				a.answer("/v1/query/nearest-shop/execute", reply{body: recorded(t, version+"-query-nearest-shop")})
				r := resolve(t, newQuery(t, setup{Client: client, Name: "nearest-shop"}))
				s := latest(t, r, 0)
				if !s.Ordered || len(s.Endpoints) != 3 {
					t.Fatalf("set %+v", s)
				}
				for i, want := range []string{"192.0.2.2:20001", "192.0.2.1:20000", "192.0.2.3:20002"} {
					if got := s.Endpoints[i].Address; got != want {
						t.Errorf("instance %d is at %s, want %s", i+1, got, want)
					}
				}
				q := a.requests("/v1/query/nearest-shop/execute")[0].URL.Query()
				if q.Get("connect") != "true" || !q.Has("stale") {
					t.Errorf("executed with %v", q)
				}
			})
		})
	}
}

func TestAQueryThatDoesNotSortIsNotOrdered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, client := newAgent(t)
		a.answer("/v1/query/any-db/explain", reply{body: `{"Query": {"Service": {"Service": "db", "Near": ""}}}`})
		a.answer("/v1/query/any-db/execute", reply{body: recorded(t, "1.15.4-query-any-db")})
		r := resolve(t, newQuery(t, setup{Client: client, Name: "any-db"}))
		s := latest(t, r, 0)
		if s.Ordered {
			t.Error("ordered")
		}
		// A query without OnlyPassing gives the instances that warn too.
		weights := make(map[string]int)
		for _, ep := range s.Endpoints {
			weights[ep.ID] = ep.Weight
		}
		if len(s.Endpoints) != 4 || weights["Node-One/db-4-sidecar-proxy"] != 2 || weights["Node-One/db-5-sidecar-proxy"] != 0 {
			t.Errorf("weights by instance: %v; want db-4 at its weight while it warns, and db-5 left out", weights)
		}
	})
}

func TestAQueryFiltersByTags(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, client := newAgent(t)
		a.answer("/v1/query/primary-db/execute", reply{body: recorded(t, "1.5.3-query-primary-db")})
		r := resolve(t, newQuery(t, setup{Client: client, Name: "primary-db"}))
		if s := latest(t, r, 0); len(s.Endpoints) != 1 || s.Endpoints[0].ID != "Node-One/db-1-sidecar-proxy" {
			t.Errorf("set %+v", s)
		}
	})
}

// Behaviour 21.
func TestAQueryThatFailsOverAsksForTheOtherDatacentersIdentity(t *testing.T) {
	for _, c := range []struct {
		version, datacenter, address string
	}{
		{"1.5.3", "north", "127.0.0.1:22003"},
		{"1.15.4", "south", "203.0.113.5:32003"},
	} {
		t.Run(c.version, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, client := newAgent(t)
				a.answer("/v1/query/archive/explain", reply{body: `{"Query": {"Service": {"Service": "archive", "Near": "_agent"}}}`})
				a.answer("/v1/query/archive/execute", reply{body: recorded(t, c.version+"-query-archive")})
				r := resolve(t, newQuery(t, setup{Client: client, Name: "archive"}))
				s := latest(t, r, 0)
				want := upstream.Endpoint{ID: "far-node/archive-1-sidecar-proxy", Address: c.address, Weight: 1, Identity: identity("archive", c.datacenter)}
				if len(s.Endpoints) != 1 || s.Endpoints[0] != want {
					t.Errorf("got %+v, want %+v", s.Endpoints, want)
				}
				if s.Ordered {
					t.Error("another datacenter's answer is shuffled, not ordered")
				}
			})
		})
	}
}

// Behaviour 21.
func TestAQueryErrorKeepsTheLastResult(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, client := newAgent(t)
		const path = "/v1/query/any-db/execute"
		a.answer(path, reply{body: recorded(t, "1.5.3-query-any-db")})
		r := resolve(t, newQuery(t, setup{Client: client, Name: "any-db"}))
		before := latest(t, r, 0)
		for _, bad := range []reply{{status: 404, body: "Query not found"}, {status: 500, body: "rpc error"}, {body: "<html>"}} {
			a.answer(path, bad)
			if s := latest(t, r, time.Minute); !s.Equal(before) || r.Status().Err == nil {
				t.Errorf("after %d %s: %+v, %+v", bad.status, bad.body, s, r.Status())
			}
		}
	})
}

func TestADefinitionThatTheTokenMayNotReadIsReadFromTheAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, client := newAgent(t)
		a.answer("/v1/query/nearest-shop/explain", reply{status: 403, body: "Permission denied"})
		a.answer("/v1/query/nearest-shop/execute", reply{body: recorded(t, "1.15.4-query-nearest-shop")})
		r := resolve(t, newQuery(t, setup{Client: client, Name: "nearest-shop"}))
		if s := latest(t, r, 0); s.Ordered {
			t.Error("ordered on the first answer's word")
		}
		if s := latest(t, r, 50*time.Second); !s.Ordered || s.Endpoints[0].Address != "192.0.2.2:20001" {
			t.Errorf("after ten answers in the same order: %+v", s)
		}
		if n := len(a.requests("/v1/query/nearest-shop/explain")); n != 1 {
			t.Errorf("the definition was asked for %d times, want once a minute", n)
		}
	})
}

func TestOrderIsToldFromAnswers(t *testing.T) {
	feed := func(o *order, answers ...string) (sorted bool) {
		for _, a := range answers {
			sorted = o.sorted([]string{a, "z"})
		}
		return sorted
	}
	eight := []string{"a", "a", "a", "a", "a", "a", "a", "a"}
	for _, c := range []struct {
		name string
		make func(o *order) bool
		want bool
	}{
		{"defined to sort", func(o *order) bool { o.define("_agent"); return feed(o, "a", "b") }, true},
		{"defined not to sort", func(o *order) bool { o.define(""); return feed(o, append(eight, "a")...) }, false},
		{"eight answers that begin alike", func(o *order) bool { return feed(o, eight...) }, false},
		{"nine answers that begin alike", func(o *order) bool { return feed(o, append(eight, "a")...) }, true},
		{"then another", func(o *order) bool { return feed(o, append(eight, "a", "b")...) }, false},
		{"defined, then hidden", func(o *order) bool { o.define("_agent"); o.forget(); return feed(o, "a", "b") }, false},
		{"near the asker's address, as the answers say", func(o *order) bool { o.define("_ip"); return feed(o, eight...) }, false},
		{"one node only", func(o *order) bool {
			var sorted bool
			for range 20 {
				sorted = o.sorted([]string{"a", "a", "a"})
			}
			return sorted
		}, false},
		{"no node", func(o *order) bool { return o.sorted(nil) }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := c.make(&order{}); got != c.want {
				t.Errorf("sorted is %t, want %t", got, c.want)
			}
		})
	}
}
