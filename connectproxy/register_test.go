package connectproxy

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/consul/api"

	"connect-proxy/config"
	"connect-proxy/connectproxy/agenttest"
	"connect-proxy/connectproxy/agenttest/fakeagent"
	"connect-proxy/connectproxy/agenttest/traffic"
	"connect-proxy/listener/listenertest"
)

func registered(o *Options) { o.Register = &RegisterOptions{ID: "db-proxy-7", Name: "db-proxy"} }

// checkIs waits until the proxy's check has a status.
func checkIs(t *testing.T, agent *fakeagent.Agent, want string) {
	t.Helper()
	agenttest.Eventually(t, soon, func() error {
		if got := agent.Check("db-proxy-7-readiness"); got != want {
			return fmt.Errorf("the check is %q, want %q", got, want)
		}
		return nil
	})
}

func TestTheRegistrationsCheckSaysWhatReadinessSays(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name    string
		managed bool
	}{{"an agent of today", false}, {"an agent of 1.5", true}} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			agent := fakeagent.New(t, fakeagent.Options{Managed: tc.managed})
			agent.Fail(traffic.Leaf, traffic.Fault{Status: 500, Body: "no leader"})
			app := listenertest.NewEcho(t)
			port := agenttest.FreePort(t)
			e := startEngine(t, agent, serving("db", port, app.Addr()), registered)
			checkIs(t, agent, api.HealthCritical)
			agent.Heal()
			e.ready()
			checkIs(t, agent, api.HealthPassing)

			c := dialPublic(t, agent, "web", port)
			c.echo("x")
			e.stop()
			checkIs(t, agent, api.HealthCritical)
			if !agent.HasService("db-proxy-7") {
				t.Error("deregistered while a connection is open")
			}
			c.Close()
			if err := e.wait(); err != nil {
				t.Errorf("Run returned %v", err)
			}
			if agent.HasService("db-proxy-7") {
				t.Error("still registered after the end")
			}
		})
	}
}

func TestARegistrationNamesTheServiceBehindTheProxy(t *testing.T) {
	t.Parallel()
	c := config.Config{
		Service: "db", ServiceID: "db-1", Namespace: "team", Partition: "blue",
		Public: &config.Public{Bind: tcp("0.0.0.0", 20000), Local: tcp("127.0.0.1", 5432)},
	}
	o := RegisterOptions{ID: "db-proxy-7", Name: "db-proxy", Address: "192.0.2.7"}
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
			now := readiness{reasons: []string{"no leaf certificate yet", "not bound"}}
			r := testRegistrar(t, agent, &c, &now)
			if wait := r.round(t.Context()); wait != registerEvery {
				t.Fatalf("the next in %s", wait)
			}
			agent.Forget()
			now = readiness{ready: true}
			if wait := r.round(t.Context()); wait != registerEvery {
				t.Fatalf("the next in %s", wait)
			}
			if !agent.HasService("db-proxy-7") || agent.Check("db-proxy-7-readiness") != api.HealthPassing {
				t.Errorf("registered %v, check %q", agent.HasService("db-proxy-7"), agent.Check("db-proxy-7-readiness"))
			}
			if n := len(agent.Registered()); n != 2 {
				t.Errorf("%d registrations", n)
			}
		})
	}
}

func TestAReportAloneFollowsWhenNothingElseHasChanged(t *testing.T) {
	t.Parallel()
	agent := fakeagent.New(t, fakeagent.Options{})
	c := &config.Config{Service: "db", Public: &config.Public{Bind: tcp("", 20000)}}
	now := readiness{}
	r := testRegistrar(t, agent, c, &now)
	r.round(t.Context())
	if r.news() {
		t.Error("news although nothing has changed")
	}
	now.ready = true
	if !r.news() {
		t.Error("no news although it is ready")
	}
	r.round(t.Context())
	if n := len(agent.Registered()); n != 1 {
		t.Errorf("%d registrations for one proxy", n)
	}
	c.Public = &config.Public{Bind: tcp("", 20001)}
	if !r.news() {
		t.Error("no news although the port has changed")
	}
	r.round(t.Context())
	if all := agent.Registered(); len(all) != 2 || all[1].Port != 20001 {
		t.Errorf("registrations %+v", all)
	}
}

func TestAnAgentThatIsDownIsTriedAgainAndSaidOnce(t *testing.T) {
	t.Parallel()
	agent := fakeagent.New(t, fakeagent.Options{})
	agent.Fail(traffic.Register, traffic.Fault{Status: 403, Body: "Permission denied"})
	c := &config.Config{Service: "db", Public: &config.Public{Bind: tcp("", 20000)}}
	now := readiness{ready: true}
	r := testRegistrar(t, agent, c, &now)
	log := &agenttest.Log{}
	r.logger = logTo(log)
	var waits []time.Duration
	for range 9 {
		waits = append(waits, r.round(t.Context()))
	}
	if r.news() {
		t.Error("news cut the back-off short")
	}
	if slices.Max(waits) > maxBackoff || slices.Min(waits) < minBackoff/2 || waits[8] < waits[0] {
		t.Errorf("waits %v", waits)
	}
	agent.Heal()
	if wait := r.round(t.Context()); wait != registerEvery {
		t.Errorf("the next in %s", wait)
	}
	if n := strings.Count(log.String(), "cannot register"); n != 1 {
		t.Errorf("said %d times:\n%s", n, log)
	}
	if !strings.Contains(log.String(), "registered with the agent") {
		t.Error("the log does not say that it was registered in the end")
	}
}

func testRegistrar(t *testing.T, agent *fakeagent.Agent, c *config.Config, now *readiness) *registrar {
	t.Helper()
	return &registrar{
		client:  agent.Client(""),
		options: RegisterOptions{ID: "db-proxy-7", Name: "db-proxy"},
		logger:  logTo(&agenttest.Log{}),
		config:  func() *config.Config { return c },
		state:   func() readiness { return *now },
	}
}

func TestWhatIsMissingInARegistrationIsNamed(t *testing.T) {
	t.Parallel()
	if err := (&RegisterOptions{Name: "x"}).validate(); err == nil || !strings.Contains(err.Error(), "ID") {
		t.Errorf("%v", err)
	}
	if err := (&RegisterOptions{ID: "x"}).validate(); err == nil || !strings.Contains(err.Error(), "name") {
		t.Errorf("%v", err)
	}
}
