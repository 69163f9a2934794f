package systemtest_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"connect-proxy/connectproxy/agenttest"
	"connect-proxy/listener/listenertest"
)

// seesInstancesWithin changes one more instance of a service in every way that an
// agent knows, and each change must have reached all of a proxy's upstreams, which
// lead to that service and are in use, within that time.
func seesInstancesWithin(t *testing.T, limit time.Duration, a *agenttest.Agent, p *proxyProcess, service string, port int) {
	const id, check = "one-more", "one-more-lives"
	agent := a.Client.Agent()
	register := func() error {
		return agent.ServiceRegister(&api.AgentServiceRegistration{
			Kind: api.ServiceKindConnectProxy, ID: id, Name: service + "-proxy", Port: port,
			Proxy: &api.AgentServiceConnectProxyConfig{DestinationServiceName: service},
			Check: &api.AgentServiceCheck{CheckID: check, TTL: "1h", Status: api.HealthPassing},
		})
	}
	health := func(status string) func() error {
		return func() error { return agent.UpdateTTL(check, "for the test", status) }
	}
	for _, c := range []struct {
		what   string
		change func() error
		listed bool
	}{
		{"registered", register, true},
		{"its check is critical", health(api.HealthCritical), false},
		{"its check passes", health(api.HealthPassing), true},
		{"maintenance on", func() error { return agent.EnableServiceMaintenance(id, "for the test") }, false},
		{"maintenance off", func() error { return agent.DisableServiceMaintenance(id) }, true},
		{"deregistered", func() error { return agent.ServiceDeregister(id) }, false},
	} {
		late := listenertest.Lateness(t)
		if err := c.change(); err != nil {
			t.Fatalf("%s: %v", c.what, err)
		}
		began := time.Now()
		agenttest.Eventually(t, soon, func() error { return p.lists("/"+id, c.listed) })
		took := time.Since(began)
		t.Logf("%s: seen after %s", c.what, took.Round(time.Millisecond))
		if most := limit + late(); took > most {
			t.Errorf("%s: seen after %s, which must not take longer than %s", c.what, took, most)
		}
	}
}

// lists is an error unless the instance with that end of its name is, or is not,
// among those of every upstream.
func (p *proxyProcess) lists(id string, want bool) error {
	h, err := p.health()
	if err != nil {
		return err
	}
	upstreams := 0
	for _, l := range h.Listeners {
		if l.Upstream == nil {
			continue
		}
		upstreams++
		listed := false
		for _, i := range l.Upstream.Instances {
			listed = listed || strings.HasSuffix(i.ID, id)
		}
		if listed != want {
			return fmt.Errorf("%s lists %+v", l.Name, l.Upstream.Instances)
		}
	}
	if upstreams == 0 {
		return fmt.Errorf("no upstream among %d listeners", len(h.Listeners))
	}
	return nil
}
