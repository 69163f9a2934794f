package connectproxy

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/hashicorp/consul/api"

	"connect-proxy/config"
	"connect-proxy/connectproxy/agenttest"
	"connect-proxy/connectproxy/agenttest/fakeagent"
	"connect-proxy/connectproxy/register"
	"connect-proxy/listener/listenertest"
)

func withApplication(o *Options) {
	o.Register = &register.Options{ID: "db-proxy", Name: "db-proxy", ApplicationID: "db-1"}
}

// checksAre waits until the checks of an application and its proxy have a status.
func checksAre(t *testing.T, agent *fakeagent.Agent, want string) {
	t.Helper()
	agenttest.Eventually(t, soon, func() error {
		app, proxy := agent.Check("db-1-health"), agent.Check("db-proxy-readiness")
		if app != want || proxy != want {
			return fmt.Errorf("the application's check is %q, the proxy's %q, want %q", app, proxy, want)
		}
		return nil
	})
}

func TestTheApplicationIsInServiceWhileItIsHealthy(t *testing.T) {
	t.Parallel()
	var status atomic.Int64
	status.Store(http.StatusServiceUnavailable)
	health := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(int(status.Load())) }))
	defer health.Close()
	agent := fakeagent.New(t, fakeagent.Options{})
	app := listenertest.NewEcho(t)
	port := agenttest.FreePort(t)
	c := serving("db", port, app.Addr())
	c.Micro = &config.Micro{Server: config.MicroServer{Name: "db", HealthCheckURL: health.URL}}
	e := startEngine(t, agent, c, withApplication).ready()
	checksAre(t, agent, api.HealthCritical)
	s, p := agent.Service("db-1"), agent.Service("db-proxy")
	if s.Service != "db" || s.Address != "" || s.Port != c.Public.Local.Port || p.Proxy.DestinationServiceID != "db-1" || p.Proxy.DestinationServiceName != "db" {
		t.Errorf("registered %+v and %+v", s, p)
	}

	status.Store(http.StatusOK)
	checksAre(t, agent, api.HealthPassing)
	client := dialPublic(t, agent, "web", port)
	client.echo("x")
	client.Close() // or the end would wait for it

	// Another configuration has another URL, or none, or no application.
	c.Micro = &config.Micro{Server: config.MicroServer{Name: "db", HealthCheckURL: health.URL + "/other"}}
	e.apply(c)
	checksAre(t, agent, api.HealthPassing)
	status.Store(http.StatusNotFound)
	checksAre(t, agent, api.HealthCritical)
	c.Micro = &config.Micro{Server: config.MicroServer{Name: "db"}}
	e.apply(c)
	checksAre(t, agent, api.HealthPassing)
	c.Micro = nil
	e.apply(c)
	agenttest.Eventually(t, soon, func() error {
		if s := agent.Service("db-1"); s != nil {
			return fmt.Errorf("still there: %+v", s)
		}
		return nil
	})
	c.Micro = &config.Micro{Server: config.MicroServer{Name: "db"}}
	e.apply(c)
	checksAre(t, agent, api.HealthPassing)

	e.stop()
	if err := e.wait(); err != nil {
		t.Error(err)
	}
	if s, p := agent.Service("db-1"), agent.Service("db-proxy"); s != nil || p != nil {
		t.Errorf("still registered after the end: %+v %+v", s, p)
	}
}

func TestAnApplicationIsNotRegisteredByAProxyThatRegistersNothing(t *testing.T) {
	t.Parallel()
	agent := fakeagent.New(t, fakeagent.Options{})
	app := listenertest.NewEcho(t)
	c := serving("db", agenttest.FreePort(t), app.Addr())
	e := startEngine(t, agent, c).ready()
	c.Micro = &config.Micro{Server: config.MicroServer{Name: "db"}}
	e.apply(c)
	agenttest.Eventually(t, soon, func() error {
		if got := e.Status().Config.Problem; !strings.Contains(got, "registers nothing: restart it") {
			return fmt.Errorf("the problem is %q", got)
		}
		return nil
	})
}
