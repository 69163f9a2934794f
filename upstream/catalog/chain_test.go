package catalog

import (
	"bytes"
	"context"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
)

const (
	chainOfDB  = "/v1/discovery-chain/db"
	healthOfDB = "/v1/health/connect/db"
	// The targets of the recorded chain, in its order.
	atV2    = healthOfDB + "?filter=Service.Meta.version == 2"
	atV1    = healthOfDB + "?filter=Service.Meta.version == 1"
	atV1Far = healthOfDB + "?dc=dc2&filter=Service.Meta.version == 1"
	atSpare = "/v1/health/connect/spare"
)

// withoutInstances is an agent with the recorded chain of a service with subsets and
// failover, of whose targets none has an instance.
func withoutInstances(t *testing.T) (*agent, setup, *bytes.Buffer) {
	t.Helper()
	a, client := newAgent(t)
	a.answer(chainOfDB, reply{body: recorded(t, "1.15.4-chain-failover"), index: 7})
	for _, path := range []string{atV2, atV1, atV1Far, atSpare} {
		a.answer(path, reply{body: "[]", index: 10})
	}
	var log bytes.Buffer
	return a, setup{
		Client: client, Name: "db",
		Logger: hclog.New(&hclog.LoggerOptions{Output: &log, Mutex: &sync.Mutex{}}),
	}, &log
}

// ids are the instances of a resolver's set, after d.
func ids(t *testing.T, r resolver, d time.Duration) string {
	t.Helper()
	var out []string
	for _, ep := range latest(t, r, d).Endpoints {
		out = append(out, ep.ID)
	}
	return strings.Join(out, " ")
}

func TestASubsetIsAskedForByItsFilterAndPassingOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, o, _ := withoutInstances(t)
		a.answer(atV2, reply{body: recorded(t, "1.15.4-health-subset"), index: 11})
		r := resolve(t, newChain(t, o))
		s := latest(t, r, 0)
		if len(s.Endpoints) != 2 || s.ConnectTimeout != 3*time.Second {
			t.Fatalf("set %+v", s)
		}
		ep := s.Endpoints[0]
		if ep.ID != "node-1/db-2-sidecar-proxy" || ep.Identity != identity("db", "dc1") || !strings.HasPrefix(ep.SNI, "v2.db.default.dc1.internal.") {
			t.Errorf("endpoint %+v", ep)
		}
		q := a.requests(healthOfDB)[0].URL.Query()
		if q.Get("passing") != "1" || q.Has("dc") || q.Has("ns") || q.Has("partition") {
			t.Errorf("asked with %v", q)
		}
	})
}

func TestTheFirstTargetWithHealthyInstancesIsUsedAndTheOthersAreNotAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, o, log := withoutInstances(t)
		r := resolve(t, newChain(t, o))
		if got := ids(t, r, 0); got != "" {
			t.Fatalf("instances %q of targets that have none", got)
		}
		spare := strings.ReplaceAll(recorded(t, "1.15.4-health-far"), `"db`, `"spare`)
		for _, step := range []struct {
			name, path string
			reply      reply
			want       string
		}{
			{"the last", atSpare, reply{body: spare, index: 12}, "node-2/spare-9-sidecar-proxy"},
			{"one in another datacenter", atV1Far, reply{body: recorded(t, "1.15.4-health-far"), index: 13}, "node-2/db-9-sidecar-proxy"},
			{"the first", atV2, reply{body: recorded(t, "1.15.4-health-subset"), index: 14}, "node-1/db-2-sidecar-proxy node-1/db-3-sidecar-proxy"},
			{"the first is lost", atV2, reply{body: "[]", index: 15}, "node-2/db-9-sidecar-proxy"},
			{"and comes back", atV2, reply{body: recorded(t, "1.15.4-health-subset"), index: 16}, "node-1/db-2-sidecar-proxy node-1/db-3-sidecar-proxy"},
		} {
			a.answer(step.path, step.reply)
			if got := ids(t, r, 2*time.Second); got != step.want {
				t.Errorf("%s: instances %q, want %q", step.name, got, step.want)
			}
		}
		s := latest(t, r, 0)
		if !strings.Contains(s.Endpoints[0].SNI, "v2.db") {
			t.Errorf("endpoint %+v", s.Endpoints[0])
		}
		after(keepWatching + 2*usePace)
		before := a.asks(atV1Far)
		after(10 * time.Second)
		if n := a.asks(atV1Far) - before; n > 0 || before == 0 {
			t.Errorf("%d questions for another target long after the first recovered", n)
		}
		if n := strings.Count(log.String(), "failing over"); n != 3 {
			t.Errorf("said %d times that it fails over:\n%s", n, log)
		}
	})
}

func TestAFailoverTakesNothingButItsOwnIdentity(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, o, _ := withoutInstances(t)
		a.answer(atV1Far, reply{body: recorded(t, "1.15.4-health-far"), index: 13})
		r := resolve(t, newChain(t, o))
		ep := latest(t, r, 0).Endpoints[0]
		if ep.Identity != identity("db", "dc2") || ep.Address != "203.0.113.9:32009" || !strings.HasPrefix(ep.SNI, "v1.db.default.dc2.internal.") {
			t.Errorf("endpoint %+v", ep)
		}
	})
}

func TestADefaultChainCostsASmallPoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, client := newAgent(t)
		a.answer("/v1/discovery-chain/spare", reply{body: recorded(t, "1.15.4-chain-default"), index: 7})
		a.answer(atSpare, reply{body: recorded(t, "1.15.4-health"), index: 10})
		r := resolve(t, newChain(t, setup{Client: client, Name: "spare"}))
		s := latest(t, r, time.Minute)
		if s.ConnectTimeout != 0 || s.Endpoints[0].SNI != "" {
			t.Errorf("set %+v, want what a plain name gives", s)
		}
		asked := a.requests("/v1/discovery-chain/spare")
		if n := len(asked); n < 5 || n > 8 {
			t.Errorf("asked for %d times in a minute", n)
		}
		if q := asked[0].URL.Query(); !q.Has("cached") || q.Has("index") || q.Has("dc") || q.Has("compile-dc") {
			t.Errorf("asked with %v", q)
		}
		if q := a.requests(atSpare)[0].URL.Query(); q.Has("passing") || q.Has("filter") {
			t.Errorf("asked with %v: an instance that warns is healthy to Consul", q)
		}
	})
}

func TestANewChainReplacesTheOldOneWithoutAGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, o, log := withoutInstances(t)
		a.answer(atV2, reply{body: recorded(t, "1.15.4-health-subset"), index: 11})
		r := resolve(t, newChain(t, o))
		latest(t, r, 0)
		empty := false
		stop := r.Follow(func() {
			if s, ok := r.Set(); !ok || len(s.Endpoints) == 0 {
				empty = true
			}
		})
		a.answer(atV1, reply{body: recorded(t, "1.15.4-health"), index: 12})
		a.answer(chainOfDB, reply{body: recorded(t, "1.15.4-chain-redirect"), index: 8})
		if got := ids(t, r, 2*DefaultChainPoll); strings.Contains(got, "node-1/") {
			t.Errorf("instances %q of the old chain", got)
		}
		stop()
		if empty {
			t.Error("there was nothing in between")
		}
		before := a.asks(atV2)
		after(10 * time.Second)
		if n := a.asks(atV2) - before; n > 0 || before == 0 {
			t.Errorf("%d questions for a target that has gone", n)
		}
		if n := strings.Count(log.String(), "discovery chain in force"); n != 2 {
			t.Errorf("said %d times:\n%s", n, log)
		}
	})
}

func TestADatacenterThatCannotBeAskedIsFailedOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, o, _ := withoutInstances(t)
		o.Datacenter = "dc2"
		o.LocalDatacenter = func(context.Context) string { return "dc1" }
		const far = healthOfDB + "?dc=dc2&filter=Service.Meta.version == 2"
		a.answer(chainOfDB, reply{body: recorded(t, "1.15.4-chain-compiled-elsewhere"), index: 7})
		a.answer(far, reply{body: recorded(t, "1.15.4-health-far"), index: 11})
		a.answer(atV1Far, reply{body: "[]", index: 12})
		a.answer(atSpare, reply{body: strings.ReplaceAll(recorded(t, "1.15.4-health-far"), `"db`, `"spare`), index: 12})
		r := resolve(t, newChain(t, o))
		if got := ids(t, r, 0); got != "node-2/db-9-sidecar-proxy" {
			t.Fatalf("instances %q", got)
		}
		if q := a.requests(chainOfDB)[0].URL.Query(); q.Get("compile-dc") != "dc2" || q.Has("dc") {
			t.Errorf("asked with %v", q)
		}
		gone := reply{status: 500, body: "No path to datacenter"}
		a.answer(far, gone)
		a.answer(atV1Far, gone)
		if got := ids(t, r, unreachable-time.Second); got != "node-2/db-9-sidecar-proxy" {
			t.Errorf("instances %q after a moment's trouble", got)
		}
		if got := ids(t, r, 10*time.Second); got != "node-2/spare-9-sidecar-proxy" {
			t.Errorf("instances %q while the datacenter cannot be asked", got)
		}
		a.answer(far, reply{body: recorded(t, "1.15.4-health-far"), index: 11})
		if got := ids(t, r, 20*time.Second); got != "node-2/db-9-sidecar-proxy" {
			t.Errorf("instances %q after it came back", got)
		}
		for _, path := range []string{chainOfDB, far, atV1Far, atSpare} {
			a.answer(path, reply{status: 500, body: "No cluster leader"})
		}
		if got := ids(t, r, time.Hour); got != "node-2/db-9-sidecar-proxy" || r.Status().Err == nil {
			t.Errorf("instances %q, %+v while nothing can be asked", got, r.Status())
		}
	})
}

func TestATargetThatDoesNotAnswerIsWaitedForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, o, _ := withoutInstances(t)
		a.answer(atV1Far, reply{index: 0, body: "[]", silent: true})
		a.answer(atSpare, reply{body: recorded(t, "1.15.4-health"), index: 12})
		r := resolve(t, newChain(t, o))
		after(firstAnswerWait - 100*time.Millisecond)
		if s, ok := r.Set(); ok {
			t.Errorf("set %+v before the other datacenter has had its time", s)
		}
		if s := latest(t, r, time.Second); len(s.Endpoints) != 3 {
			t.Errorf("set %+v, want that of the target after it", s)
		}
	})
}

func TestWithoutAnAnswerTheStatusSaysWhatTheAgentSaid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, o, _ := withoutInstances(t)
		for _, path := range []string{atV2, atV1, atV1Far, atSpare} {
			a.answer(path, reply{status: http.StatusInternalServerError, body: "no path to datacenter"})
		}
		r := resolve(t, newChain(t, o))
		after(time.Second)
		if err := r.Status().Err; err == nil || !strings.Contains(err.Error(), "no path to datacenter") {
			t.Errorf("the status says %v", err)
		}
		_, err := start(t, r).Dial(t.Context())
		if err == nil || !strings.Contains(err.Error(), "no path to datacenter") {
			t.Errorf("a dial says %v", err)
		}
	})
}
