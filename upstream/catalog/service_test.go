package catalog

import (
	"bytes"
	"context"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"connect-proxy/upstream/watch"
)

func TestAServiceInUseIsAskedForEverySecondInTheAgentsCacheAndNowAndThenPastIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, client := newAgent(t)
		const path = "/v1/health/connect/db"
		a.answer(path, reply{body: recorded(t, "1.15.4-health"), index: 34})
		r := resolve(t, newService(t, setup{Client: client, Name: "db", Namespace: "team-a", Partition: "eu", Datacenter: "west"}))
		if s := latest(t, r, 0); len(s.Endpoints) != 3 || s.Ordered || s.Filtered {
			t.Errorf("set %+v", s)
		}
		after(time.Minute)
		past := 0
		asked := a.requests(path)
		if len(asked) < 54 || len(asked) > 68 {
			t.Errorf("%d requests in a minute", len(asked))
		}
		for i, r := range asked {
			q := r.URL.Query()
			for k, want := range map[string]string{"passing": "1", "ns": "team-a", "partition": "eu", "dc": "west", "index": ""} {
				if q.Get(k) != want {
					t.Errorf("request %d has %s=%q, want %q", i+1, k, q.Get(k), want)
				}
			}
			if !q.Has("stale") {
				t.Errorf("request %d: %s, want one that any server may answer", i+1, r.URL.RawQuery)
			}
			if !q.Has("cached") {
				past++
			}
		}
		if past < 5 || past > 8 || asked[0].URL.Query().Has("cached") {
			t.Errorf("%d requests go past the agent's cache, want the first and then one in ten seconds", past)
		}
		a.answer(path, reply{body: "[]", index: 35})
		if s := latest(t, r, 1500*time.Millisecond); len(s.Endpoints) != 0 {
			t.Errorf("not seen soon after it happened: %+v", s)
		}
	})
}

func TestEndpointsSurviveTheAgentsErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, client := newAgent(t)
		const path = "/v1/health/connect/db"
		a.answer(path, reply{body: recorded(t, "1.5.3-health"), index: 34})
		r := resolve(t, newService(t, setup{Client: client, Name: "db"}))
		latest(t, r, 0)
		for _, bad := range []reply{
			{status: 500, body: "No cluster leader"}, {status: 429, body: "slow down"}, {status: 403, body: "Permission denied"}, {body: "rubbish", index: 99},
		} {
			a.answer(path, bad)
			if s := latest(t, r, time.Minute); len(s.Endpoints) != 3 || r.Status().Err == nil {
				t.Errorf("after %d %s: %+v, %+v", bad.status, bad.body, s, r.Status())
			}
		}
		a.answer(path, reply{body: "[]", index: 3}) // restored from an old snapshot
		if s := latest(t, r, watch.DefaultMaxBackoff); len(s.Endpoints) != 0 || r.Status().Err != nil {
			t.Errorf("after the agent came back: %+v, %+v", s, r.Status())
		}
	})
}

func TestAnAnswerThatTheTokenCutsShortIsMarked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, client := newAgent(t)
		a.answer("/v1/health/connect/db", reply{body: "[]", index: 3, header: map[string]string{"X-Consul-Results-Filtered-By-ACLs": "true"}})
		r := resolve(t, newService(t, setup{Client: client, Name: "db"}))
		if s := latest(t, r, 0); !s.Filtered {
			t.Errorf("set %+v", s)
		}
	})
}

func TestWANAddressesAreForOtherDatacentersOnly(t *testing.T) {
	for _, c := range []struct {
		name       string
		datacenter string
		local      func(context.Context) string
		want       string
	}{
		{"the agent's own, unnamed", "", nil, "127.0.0.1:22003"},
		{"the agent's own, by name", "South", func(context.Context) string { return "south" }, "127.0.0.1:22003"},
		{"another", "south", func(context.Context) string { return "west" }, "203.0.113.5:32003"},
		{"by name while the own one is not known", "south", nil, "203.0.113.5:32003"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, client := newAgent(t)
				a.answer("/v1/health/connect/archive", reply{body: recorded(t, "1.15.4-health-remote"), index: 3})
				r := resolve(t, newService(t, setup{Client: client, Name: "archive", Datacenter: c.datacenter, LocalDatacenter: c.local}))
				if s := latest(t, r, 0); s.Endpoints[0].Address != c.want {
					t.Errorf("address %s, want %s", s.Endpoints[0].Address, c.want)
				}
			})
		})
	}
}

func TestWhatIsLeftOutIsLoggedOnce(t *testing.T) {
	var b bytes.Buffer
	skipped := skipLogger{logger: hclog.New(&hclog.LoggerOptions{Output: &b, Mutex: &sync.Mutex{}}), service: "db"}
	for range 3 {
		skipped.log([]string{"an instance without an address or a port"})
	}
	skipped.log(nil)
	if got := strings.Count(b.String(), "leaving out instances: service=db reason="); got != 1 {
		t.Errorf("logged %d times:\n%s", got, b.String())
	}
}

func TestAnInstanceThatWarnsIsHealthyWhereThatIsAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, client := newAgent(t)
		const path = "/v1/health/connect/db"
		body := recorded(t, "1.15.4-health-subset")
		a.answer(path, reply{body: body, index: 34})
		r := resolve(t, newService(t, setup{Client: client, Name: "db", Filter: "Service.Meta.version == 2", Warning: true}))
		if s := latest(t, r, 0); len(s.Endpoints) != 2 {
			t.Errorf("set %+v", s)
		}
		if q := a.requests(path)[0].URL.Query(); q.Has("passing") || q.Get("filter") != "Service.Meta.version == 2" {
			t.Errorf("asked with %v", q)
		}
		body = strings.ReplaceAll(body, `"Output": ""`, `"Output": "connection refused"`)
		a.answer(path, reply{body: strings.ReplaceAll(body, `"Status": "warning"`, `"Status": "critical"`), index: 35})
		if s := latest(t, r, 1500*time.Millisecond); len(s.Endpoints) != 1 || s.Endpoints[0].ID != "node-1/db-2-sidecar-proxy" {
			t.Errorf("set %+v: an instance in critical state is there", s)
		}
	})
}

func TestWhatTheTokenMayNotReadAnyMoreIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, client := newAgent(t)
		const path = "/v1/health/connect/db"
		a.answer(path, reply{body: recorded(t, "1.15.4-health"), index: 34})
		r := resolve(t, newService(t, setup{Client: client, Name: "db"}))
		latest(t, r, 0)
		a.answer(path, reply{body: "[]", index: 34, header: map[string]string{"X-Consul-Results-Filtered-By-ACLs": "true"}})
		s := latest(t, r, time.Minute)
		if err := r.Status().Err; len(s.Endpoints) != 3 || err == nil || !strings.Contains(err.Error(), "service:read") {
			t.Errorf("set %+v, error %v", s, err)
		}
	})
}

func TestAServiceThatLooksEmptyForWantOfAPermissionIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, client := newAgent(t)
		a.answer("/v1/health/connect/db", reply{body: recorded(t, "1.15.4-health"), index: 34})
		r := resolve(t, newService(t, setup{Client: client, Name: "db"}))
		latest(t, r, 0)
		a.answer("/v1/health/service/db", reply{body: "[]", index: 34, header: map[string]string{"X-Consul-Results-Filtered-By-ACLs": "true"}})
		a.answer("/v1/health/connect/db", reply{body: "[]", index: 34})
		if s := latest(t, r, time.Minute); len(s.Endpoints) != 3 || r.Status().Err == nil {
			t.Errorf("set %+v, error %v", s, r.Status().Err)
		}
		a.answer("/v1/health/service/db", reply{body: "[]", index: 34})
		if s := latest(t, r, time.Minute); len(s.Endpoints) != 0 {
			t.Errorf("set %+v of a service that has gone", s)
		}
	})
}
