package catalog

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"connect-proxy/upstream/watch"
)

func TestWithoutAChainTheNameIsResolvedAlone(t *testing.T) {
	for _, c := range []struct {
		name  string
		reply reply
		said  string
	}{
		{"an older agent", reply{status: 404}, "[INFO]  no discovery chains, resolving the name alone: service=db"},
		{"a token that may not", reply{status: 403, body: "Permission denied: token with AccessorID 'x' lacks permission 'service:read' on \"db\""},
			"[WARN]  discovery chain not readable, resolving the name alone: service=db reason=\"the token needs service:read on the service: Permission denied"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, o, log := withoutInstances(t)
				a.answer(chainOfDB, c.reply)
				a.answer(healthOfDB, reply{body: recorded(t, "1.15.4-health"), index: 34})
				r := resolve(t, newChain(t, o))
				if s := latest(t, r, 5*time.Minute); len(s.Endpoints) != 3 || s.Endpoints[0].SNI != "" {
					t.Errorf("set %+v", s)
				}
				if q := a.requests(healthOfDB)[0].URL.Query(); q.Get("passing") != "1" {
					t.Errorf("asked with %v", q)
				}
				if n := strings.Count(log.String(), c.said); n != 1 || strings.Count(log.String(), "\n") != 2 { // and the instances found
					t.Errorf("said %d times:\n%s", n, log)
				}
				// The agent is upgraded, or the token given the right.
				a.answer(chainOfDB, reply{body: recorded(t, "1.15.4-chain-failover"), index: 7})
				a.answer(atV2, reply{body: recorded(t, "1.15.4-health-subset"), index: 11})
				if n := len(a.requests(chainOfDB)); n > 6 {
					t.Errorf("asked %d times in 5 minutes for what is not there", n)
				}
				if s := latest(t, r, absentEvery+2*DefaultChainPoll); len(s.Endpoints) != 2 {
					t.Errorf("set %+v, want the chain's", s)
				}
			})
		})
	}
}

func TestAChainOnceKnownSurvivesTheAgentsErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, o, _ := withoutInstances(t)
		a.answer(healthOfDB, reply{body: recorded(t, "1.15.4-health"), index: 34})
		a.answer(atV2, reply{body: recorded(t, "1.15.4-health-subset"), index: 11})
		r := resolve(t, newChain(t, o))
		latest(t, r, 0)
		for _, bad := range []reply{
			{status: 403, body: "ACL not found"}, {status: 404}, {status: 500}, {status: 429}, {body: "rubbish"}, {body: "{}"},
		} {
			a.answer(chainOfDB, bad)
			if s := latest(t, r, time.Minute); len(s.Endpoints) != 2 {
				t.Errorf("after %d %s: %+v", bad.status, bad.body, s)
			}
		}
	})
}

func TestNothingIsKnownBeforeTheChainIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, o, _ := withoutInstances(t)
		a.answer(chainOfDB, reply{status: 500, body: "No cluster leader"})
		r := resolve(t, newChain(t, o))
		after(time.Minute)
		if s, ok := r.Set(); ok || r.Status().Err == nil {
			t.Errorf("set %+v, status %+v: a redirect may be what the agent does not tell", s, r.Status())
		}
	})
}

func TestSplitsArePassedOverAndTheResolverIsFollowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, o, log := withoutInstances(t)
		o.Name = "web"
		a.answer("GET /v1/discovery-chain/web", reply{body: recorded(t, "1.15.4-chain-splitter"), index: 7})
		a.answer("POST /v1/discovery-chain/web", reply{body: recorded(t, "1.15.4-chain-splitter-as-tcp"), index: 7})
		a.answer("/v1/health/connect/web?filter=Service.Meta.version == 2", reply{body: recorded(t, "1.15.4-health-subset"), index: 11})
		r := resolve(t, newChain(t, o))
		if s := latest(t, r, time.Minute); len(s.Endpoints) != 2 {
			t.Errorf("set %+v", s)
		}
		if n := strings.Count(log.String(), "routes and splits are passed over: service=web"); n != 1 {
			t.Errorf("said %d times:\n%s", n, log)
		}
	})
}

func TestATargetInAPeerClusterIsPassedOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, o, log := withoutInstances(t)
		o.Name = "twin"
		a.answer("/v1/discovery-chain/twin", reply{body: recorded(t, "1.15.4-chain-peer"), index: 7})
		a.answer("/v1/health/connect/twin", reply{body: "[]", index: 7})
		a.answer(atSpare, reply{body: recorded(t, "1.15.4-health"), index: 9})
		r := resolve(t, newChain(t, o))
		if s := latest(t, r, time.Minute); len(s.Endpoints) != 3 {
			t.Errorf("set %+v, want the target's after it", s)
		}
		if n := strings.Count(log.String(), "twin.default.default.external.other-cluster is in a peer cluster"); n != 1 {
			t.Errorf("said %d times:\n%s", n, log)
		}
	})
}

func TestWhatTheAgentFilledInIsNotAskedFor(t *testing.T) {
	local := func(context.Context) string { return "dc1" }
	for _, c := range []struct {
		name, chain string
		o           setup
		want        question
	}{
		{"its own datacenter", "failover", setup{},
			question{service: "db", filter: "Service.Meta.version == 2"}},
		{"its own datacenter, by name", "failover", setup{Datacenter: "DC1", LocalDatacenter: local},
			question{service: "db", filter: "Service.Meta.version == 2"}},
		{"another", "compiled-elsewhere", setup{Datacenter: "dc2", LocalDatacenter: local},
			question{service: "db", datacenter: "dc2", filter: "Service.Meta.version == 2"}},
		{"a namespace that was asked for", "default", setup{Namespace: "team-a", Partition: "eu"},
			question{service: "spare", namespace: "team-a", partition: "eu", warning: true}},
		{"another by a redirect, through the mesh's gateways", "remote", setup{},
			question{service: "archive", datacenter: "dc2", warning: true, gateway: remoteGateway}},
		{"and the upstream's own mode", "remote", setup{MeshGateway: "local"},
			question{service: "archive", datacenter: "dc2", warning: true, gateway: localGateway}},
		{"or none", "remote", setup{MeshGateway: "none"},
			question{service: "archive", datacenter: "dc2", warning: true}},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, client := newAgent(t)
			chain := recorded(t, "1.15.4-chain-"+c.chain)
			if c.o.Namespace != "" {
				chain = strings.ReplaceAll(chain, `"Namespace": "default"`, `"Namespace": "team-a"`)
			}
			a.answer(chainOfDB, reply{body: chain, index: 7})
			catalog := New(Options{Client: client, LocalDatacenter: c.o.LocalDatacenter})
			compiler := compiler{c: catalog, usage: &usage{c: catalog}, o: ChainOptions{
				Name: "db", Namespace: c.o.Namespace, Partition: c.o.Partition, Datacenter: c.o.Datacenter, MeshGateway: c.o.MeshGateway,
			}}
			p, _, err := compiler.fetch(t.Context(), watch.Cursor{}, 0)
			if err != nil || !p.found || p.targets[0].question != c.want {
				t.Errorf("%+v, %v; want the question %+v", p, err, c.want)
			}
		})
	}
}

func TestAPartitionIsReadFromTheServerName(t *testing.T) {
	for _, c := range []struct{ name, sni, want string }{
		{"the default", "db.default.dc2.internal.11.consul", ""},
		{"another", "db.default.eu.dc2.internal-v1.11.consul", "eu"},
		{"another, of a subset", "v1.db.team-a.eu.dc2.internal-v1.11.consul", "eu"},
		{"an external service", "db.example.com", ""},
		{"none", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := foreignPartition(c.sni, "dc2"); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestAnAbsurdConnectTimeoutOfAServiceResolverIsNamedAndNotObeyed(t *testing.T) {
	for _, c := range []struct {
		timeout string // as agents write it
		want    time.Duration
		said    string
	}{
		{`"5ns"`, 0, "ConnectTimeout 5ns of"},
		{`"9ms"`, 0, "ConnectTimeout 9ms of"},
		{`"1ns"`, 0, "ConnectTimeout 1ns of"},
		{`"-3s"`, 0, "ConnectTimeout -3s of"},
		{`"2562047h47m16s"`, 0, "ConnectTimeout 2562047h47m16s of"},
		{`""`, 0, ""},
		{`"10ms"`, 10 * time.Millisecond, ""},
		{`"1h"`, time.Hour, ""},
	} {
		t.Run(c.timeout, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, o, log := withoutInstances(t)
				chain := strings.ReplaceAll(recorded(t, "1.15.4-chain-failover"), `"ConnectTimeout": "3s",
                "ID"`, `"ConnectTimeout": `+c.timeout+`, "RequestTimeout": "-1ns",
                "ID"`)
				a.answer(chainOfDB, reply{body: chain, index: 7})
				a.answer(atV2, reply{body: recorded(t, "1.15.4-health-subset"), index: 11})
				s := latest(t, resolve(t, newChain(t, o)), 10*time.Minute)
				if len(s.Endpoints) != 2 || s.ConnectTimeout != c.want {
					t.Errorf("%d instances, timeout %s, want %s", len(s.Endpoints), s.ConnectTimeout, c.want)
				}
				want := 1
				if c.said == "" {
					want = 0
				}
				if n := strings.Count(log.String(), "setting is not honoured"); n != want || !strings.Contains(log.String(), c.said) || want > 0 && !strings.Contains(log.String(), "service-resolver \\\"db\\\"") {
					t.Errorf("said %d times:\n%s", n, log)
				}
			})
		})
	}
}
