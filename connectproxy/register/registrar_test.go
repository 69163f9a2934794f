package register

import (
	"slices"
	"strings"
	"testing"
	"time"

	"connect-proxy/config"
	"connect-proxy/connectproxy/agenttest"
	"connect-proxy/connectproxy/agenttest/fakeagent"
	"connect-proxy/connectproxy/agenttest/traffic"
	"connect-proxy/upstream/backoff"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/go-hclog"
)

func TestARegistrationNamesTheServiceBehindTheProxy(t *testing.T) {
	t.Parallel()
	c := config.Config{
		Service: "db", ServiceID: "db-1", Namespace: "team", Partition: "blue",
		Public: &config.Public{Bind: tcp("0.0.0.0", 20000), Local: tcp("127.0.0.1", 5432)},
	}
	o := Options{ID: "db-proxy-7", Name: "db-proxy", Address: "192.0.2.7"}
	want := &api.AgentServiceRegistration{
		Kind: api.ServiceKindConnectProxy, ID: "db-proxy-7", Name: "db-proxy", Address: "192.0.2.7", Port: 20000,
		Namespace: "team", Partition: "blue",
		Proxy: &api.AgentServiceConnectProxyConfig{
			DestinationServiceName: "db", DestinationServiceID: "db-1",
			LocalServiceAddress: "127.0.0.1", LocalServicePort: 5432,
		},
	}
	if d := cmp.Diff(want, o.registration(&c)); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	o.Port = 443
	if got := o.registration(&c).Port; got != 443 {
		t.Errorf("port %d", got)
	}
}

func TestAnApplicationIsRegisteredWhereOthersFindIt(t *testing.T) {
	t.Parallel()
	for at, want := range map[config.Address]api.AgentServiceRegistration{
		tcp("127.0.0.1", 9090):   {Port: 9090}, // the node's address
		tcp("localhost", 9090):   {Port: 9090},
		tcp("::", 9090):          {Port: 9090},
		tcp("192.0.2.1", 9090):   {Port: 9090, Address: "192.0.2.1"},
		tcp("app.example", 9090): {Port: 9090, Address: "app.example"},
		{Path: "/run/app.sock"}:  {SocketPath: "/run/app.sock"},
	} {
		c := config.Config{Service: "db", Namespace: "team", Micro: &config.Micro{Server: config.MicroServer{Name: "db", Address: at}}}
		want.ID, want.Name, want.Namespace = "db-2", "db", "team"
		if d := cmp.Diff(&want, (&Options{ApplicationID: "db-2"}).application(&c)); d != "" {
			t.Errorf("%s: -want +got:\n%s", at, d)
		}
	}
}

func TestAnAgentThatForgetsAnApplicationIsToldAnew(t *testing.T) {
	t.Parallel()
	agent := fakeagent.New(t, fakeagent.Options{})
	c := config.Config{Service: "db", Public: &config.Public{Bind: tcp("", 20000)}, Micro: &config.Micro{Server: config.MicroServer{Name: "db", Address: tcp("", 9090)}}}
	now := Readiness{Ready: true}
	r := testRegistrar(t, agent, &c, &now, &agenttest.Log{})
	for range 2 {
		if wait := r.round(t.Context()); wait != reportInterval {
			t.Fatalf("the next in %s", wait)
		}
		if app, proxy := agent.Check("db-health"), agent.Check("db-proxy-7-readiness"); app != api.HealthPassing || proxy != api.HealthPassing {
			t.Errorf("the checks are %q and %q", app, proxy)
		}
		agent.Forget()
	}
}

func TestAnAgentThatForgetsIsToldAnew(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name    string
		managed bool
	}{{"an agent of today", false}, {"an agent of 1.5", true}} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			agent := fakeagent.New(t, fakeagent.Options{Managed: tc.managed})
			c := config.Config{Service: "db", Public: &config.Public{Bind: tcp("", 20000)}}
			now := Readiness{Reasons: []string{"no leaf certificate yet", "not bound"}}
			r := testRegistrar(t, agent, &c, &now, &agenttest.Log{})
			if wait := r.round(t.Context()); wait != reportInterval {
				t.Fatalf("the next in %s", wait)
			}
			agent.Forget()
			now = Readiness{Ready: true}
			if wait := r.round(t.Context()); wait != reportInterval {
				t.Fatalf("the next in %s", wait)
			}
			if s, check := agent.Service("db-proxy-7"), agent.Check("db-proxy-7-readiness"); s == nil || check != api.HealthPassing {
				t.Errorf("registered %+v, check %q", s, check)
			}
			if n := agent.Requests(traffic.Register); n != 2 {
				t.Errorf("%d registrations", n)
			}
		})
	}
}

func TestAReportAloneFollowsWhenNothingElseHasChanged(t *testing.T) {
	t.Parallel()
	agent := fakeagent.New(t, fakeagent.Options{})
	c := &config.Config{Service: "db", Public: &config.Public{Bind: tcp("", 20000)}}
	now := Readiness{}
	r := testRegistrar(t, agent, c, &now, &agenttest.Log{})
	r.round(t.Context())
	if r.changed() {
		t.Error("a change although nothing has changed")
	}
	now.Ready = true
	if !r.changed() {
		t.Error("no change although it is ready")
	}
	r.round(t.Context())
	if n := agent.Requests(traffic.Register); n != 1 {
		t.Errorf("%d registrations for one proxy", n)
	}
	c.Public = &config.Public{Bind: tcp("", 20001)}
	if !r.changed() {
		t.Error("no change although the port has changed")
	}
	r.round(t.Context())
	if n, s := agent.Requests(traffic.Register), agent.Service("db-proxy-7"); n != 2 || s.Port != 20001 {
		t.Errorf("%d registrations, the last %+v", n, s)
	}
}

func TestAnAgentThatIsDownIsTriedAgainAndSaidOnce(t *testing.T) {
	t.Parallel()
	agent := fakeagent.New(t, fakeagent.Options{})
	agent.Fail(traffic.Register, traffic.Fault{Status: 403, Body: "Permission denied"})
	c := &config.Config{Service: "db", Public: &config.Public{Bind: tcp("", 20000)}}
	now := Readiness{Ready: true}
	log := &agenttest.Log{}
	r := testRegistrar(t, agent, c, &now, log)
	var waits []time.Duration
	for range 9 {
		waits = append(waits, r.round(t.Context()))
	}
	if r.changed() {
		t.Error("a change cut the back-off short")
	}
	if slices.Max(waits) > backoff.DefaultMax || slices.Min(waits) < backoff.DefaultMin/2 || waits[8] < waits[0] {
		t.Errorf("waits %v", waits)
	}
	agent.Heal()
	if wait := r.round(t.Context()); wait != reportInterval {
		t.Errorf("the next in %s", wait)
	}
	if n := strings.Count(log.String(), "cannot register"); n != 1 {
		t.Errorf("said %d times:\n%s", n, log)
	}
	if !strings.Contains(log.String(), "registered with the agent") {
		t.Error("the log does not say that it was registered in the end")
	}
}

func testRegistrar(t *testing.T, agent *fakeagent.Agent, c *config.Config, now *Readiness, log *agenttest.Log) *Registrar {
	t.Helper()
	r, err := New(agent.Client(""), Options{ID: "db-proxy-7", Name: "db-proxy"}, Subject{
		Config:    func() *config.Config { return c },
		Readiness: func() Readiness { return *now },
	}, hclog.New(&hclog.LoggerOptions{Output: log, Level: hclog.Debug}))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func tcp(host string, port int) config.Address { return config.Address{Host: host, Port: port} }

func TestWhatIsMissingInARegistrationIsNamed(t *testing.T) {
	t.Parallel()
	if err := (&Options{Name: "x"}).Validate(); err == nil || !strings.Contains(err.Error(), "ID") {
		t.Errorf("%v", err)
	}
	if err := (&Options{ID: "x"}).Validate(); err == nil || !strings.Contains(err.Error(), "name") {
		t.Errorf("%v", err)
	}
}
