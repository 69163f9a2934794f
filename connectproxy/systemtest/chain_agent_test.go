package systemtest_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"connect-proxy/connectproxy/agenttest"
	"connect-proxy/connectproxy/agenttest/traffic"
	"connect-proxy/listener/listenertest"
)

// afterPoll is how long a test waits for what a proxy learns by asking for the
// discovery chain again, which it does every 10 s.
const afterPoll = 20 * time.Second

// configure writes a configuration entry.
func configure(t *testing.T, a *agenttest.Agent, entry api.ConfigEntry) {
	t.Helper()
	if _, _, err := a.Client.ConfigEntries().Set(entry, nil); err != nil {
		t.Fatal(err)
	}
}

// maintain takes a proxy out of service, or puts it back.
func maintain(t *testing.T, a *agenttest.Agent, s sidecar, down bool) {
	t.Helper()
	err := a.Client.Agent().DisableServiceMaintenance(s.proxyID())
	if down {
		err = a.Client.Agent().EnableServiceMaintenance(s.proxyID(), "for the test")
	}
	if err != nil {
		t.Fatal(err)
	}
}

// only dials a few times, and the one name must answer each time.
func only(t *testing.T, address, name string) {
	t.Helper()
	for range 6 {
		c := dial(t, address)
		c.wants(name)
		c.Close()
	}
}

func TestServiceResolversAreHonoured(t *testing.T) {
	agenttest.SkipShort(t)
	parallel(t)
	a := agenttest.Modern(t, agenttest.Options{})
	port := agenttest.FreePorts(t, 12)
	blue := sidecar{name: "db", id: "db-blue", app: portOf(app(t, "blue")), port: port, tags: []string{"blue"}}
	green := sidecar{name: "db", id: "db-green", app: portOf(app(t, "green")), port: port + 1, tags: []string{"green"}}
	spare := sidecar{name: "spare", app: portOf(app(t, "spare")), port: port + 2}
	for _, s := range []sidecar{blue, green, spare} {
		s.start(t, a)
	}
	// Its instance accepts and says nothing.
	a.Register(&api.AgentServiceRegistration{
		Kind: api.ServiceKindConnectProxy, Name: "silent-proxy", Port: portOf(listenertest.NewSink(t)),
		Proxy: &api.AgentServiceConnectProxyConfig{DestinationServiceName: "silent"},
	})
	toGreen := &api.ServiceResolverConfigEntry{
		Kind: api.ServiceResolver, Name: "db", DefaultSubset: "green",
		Subsets: map[string]api.ServiceResolverSubset{
			"blue":  {Filter: `"blue" in Service.Tags`, OnlyPassing: true},
			"green": {Filter: `"green" in Service.Tags`, OnlyPassing: true},
		},
		Failover: map[string]api.ServiceResolverFailover{"green": {Service: "spare"}},
	}
	configure(t, a, toGreen)
	configure(t, a, &api.ServiceResolverConfigEntry{
		Kind: api.ServiceResolver, Name: "old-db",
		Redirect: &api.ServiceResolverRedirect{Service: "db", ServiceSubset: "blue"},
	})
	configure(t, a, &api.ServiceResolverConfigEntry{Kind: api.ServiceResolver, Name: "silent", ConnectTimeout: 1500 * time.Millisecond})

	agent := a.Record()
	toDB, toOld, toSilent, toSpare := port+4, port+5, port+6, port+7
	web := sidecar{name: "web", app: 1, port: port + 3, upstreams: []api.Upstream{
		up("db", toDB), up("old-db", toOld), up("silent", toSilent), up("spare", toSpare),
	}}
	web.register(a)
	a.WaitConnect("db", 2)
	a.WaitConnect("spare", 1)
	p := runProxyAt(t, "http://"+agent.Addr, a.Token, "-sidecar-for", "web").ready()
	reaches(t, at(toSpare), "spare")

	t.Run("a default subset", func(t *testing.T) {
		reaches(t, at(toDB), "green")
		only(t, at(toDB), "green")
	})
	t.Run("a redirect to a subset", func(t *testing.T) {
		reaches(t, at(toOld), "blue")
		only(t, at(toOld), "blue")
	})
	t.Run("a connect timeout", func(t *testing.T) {
		began := time.Now()
		dial(t, at(toSilent)).ended(soon)
		if took := time.Since(began); took < 1400*time.Millisecond || took > 4500*time.Millisecond { // the default is 5 s
			t.Errorf("it took %s", took)
		}
	})
	t.Run("at the price of one held request an upstream", func(t *testing.T) {
		agenttest.Eventually(t, soon, func() error {
			if n := agent.Counts(traffic.All).Held; n > len(web.upstreams)+4 {
				return fmt.Errorf("%d requests are held", n)
			}
			return nil
		})
		if q := agent.Counts(traffic.DiscoveryChain).RawQuery; !strings.Contains(q, "cached") {
			t.Errorf("the chain is asked for with %q", q)
		}
	})
	t.Run("failover to a service that proves itself", func(t *testing.T) {
		kept := dial(t, at(toDB))
		kept.wants("green")
		maintain(t, a, green, true)
		reaches(t, at(toDB), "spare")
		only(t, at(toDB), "spare")
		kept.wants("green")
		p.WaitOutput(soon, "failing over: service=db target=spare.default.default.dc1")
	})
	t.Run("and back", func(t *testing.T) {
		maintain(t, a, green, false)
		reaches(t, at(toDB), "green")
		only(t, at(toDB), "green")
	})
	t.Run("a change of the entry", func(t *testing.T) {
		toGreen.DefaultSubset = "blue"
		configure(t, a, toGreen)
		agenttest.Eventually(t, afterPoll, func() error { return answeredBy(at(toDB), "blue") })
		only(t, at(toDB), "blue")
	})
	for _, line := range p.Output.Matching("[WARN]", "[ERROR]") {
		if !strings.Contains(line, "failing over") && !strings.Contains(line, "=silent") {
			t.Errorf("the log has %s", line)
		}
	}
}

func TestATokenThatMayNotReadAChainResolvesTheName(t *testing.T) {
	agenttest.SkipShort(t)
	parallel(t)
	a := agenttest.Modern(t, agenttest.Options{})
	port := agenttest.FreePorts(t, 3)
	sidecar{name: "db", app: portOf(app(t, "db")), port: port}.start(t, a)
	a.WaitConnect("db", 1)
	web := sidecar{name: "web", app: 1, port: port + 1, upstreams: []api.Upstream{up("db", port+2)}}
	web.register(a)
	// A right that is enough for instances is enough for the chain in Consul
	// itself, so a recorder says no in the agent's words.
	agent := a.Record()
	agent.Fail(traffic.DiscoveryChain, traffic.Fault{
		Status: 403, Body: "Permission denied: token lacks permission 'service:read' on \"db\"",
	})
	p := runProxyAt(t, "http://"+agent.Addr, a.Token, "-sidecar-for", "web").ready()
	reaches(t, at(port+2), "db")
	p.WaitOutput(soon, "needs service:read on the service")
	if n := len(p.Output.Matching("needs service:read on the service")); n != 1 {
		t.Errorf("said %d times", n)
	}
}
