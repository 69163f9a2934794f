package connectproxy

import (
	"fmt"
	"testing"

	"github.com/hashicorp/consul/api"

	"connect-proxy/connectproxy/agenttest"
	"connect-proxy/connectproxy/agenttest/fakeagent"
	"connect-proxy/connectproxy/agenttest/traffic"
	"connect-proxy/connectproxy/register"
	"connect-proxy/listener/listenertest"
)

func registered(o *Options) { o.Register = &register.Options{ID: "db-proxy-7", Name: "db-proxy"} }

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
			if agent.Service("db-proxy-7") == nil {
				t.Error("deregistered while a connection is open")
			}
			c.Close()
			if err := e.wait(); err != nil {
				t.Errorf("Run returned %v", err)
			}
			if agent.Service("db-proxy-7") != nil {
				t.Error("still registered after the end")
			}
		})
	}
}
