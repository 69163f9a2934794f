package systemtest_test

import (
	"fmt"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"connect-proxy/connectproxy/agenttest"
	"connect-proxy/connectproxy/agenttest/fakeagent"
	"connect-proxy/connectproxy/agenttest/traffic"
)

func TestNothingIsServedBeforeThereIsALeafAndEverythingAfter(t *testing.T) {
	agenttest.SkipShort(t)
	parallel(t)
	a := agenttest.Modern(t, agenttest.Options{})
	port := agenttest.FreePorts(t, 5)
	sidecar{name: "db", app: portOf(app(t, "db")), port: port}.start(t, a)
	a.WaitConnect("db", 1)
	hasty := api.Upstream{
		DestinationType: api.UpstreamDestTypePreparedQuery, DestinationName: a.PutQuery(api.PreparedQueryDefinition{
			Name: "db-query", Service: api.ServiceQuery{Service: "db"},
		}),
		LocalBindPort: port + 3, Config: map[string]any{"connect_timeout_ms": 700},
	}
	// The leaf may take its time once the agent gives it.
	steady := up("db", port+2)
	steady.Config = map[string]any{"connect_timeout_ms": int(soon / time.Millisecond)}
	web := sidecar{name: "web", app: portOf(app(t, "web")), port: port + 1, upstreams: []api.Upstream{steady, hasty}}
	web.register(a)

	r := a.Record()
	r.Fail(traffic.Leaf, traffic.Fault{Status: 500, Body: "No cluster leader"})
	p := runProxyAt(t, "http://"+r.Addr, "", "-sidecar-for", "web")
	p.unready("No cluster leader")
	closed(t, port+1)
	patient := dial(t, at(port+2))
	began := time.Now()
	dial(t, at(port+3)).ended(soon)
	if took := time.Since(began); took < 600*time.Millisecond || took > 4*time.Second { // the default is 5 s
		t.Errorf("connect_timeout_ms of 700 took %s", took)
	}
	closed(t, port+1)
	r.Heal()
	patient.wants("db")
	p.ready()
	if err := open(port + 1); err != nil {
		t.Error(err)
	}
}

func TestAProxyRegistersItselfAgainWhenItIsForgottenAndDeregistersAtTheEnd(t *testing.T) {
	agenttest.SkipShort(t)
	parallel(t)
	outer := t // who has the place
	agenttest.Both(t, agenttest.Options{}, func(t *testing.T, a *agenttest.Agent) {
		db := app(t, "db")
		port := agenttest.FreePorts(t, 2)
		p := runProxy(t, a, "-service", "db", "-service-addr", db.Addr(), "-listen", at(port), "-register", "-register-id", "7").ready()
		a.WaitCheck("db-proxy-7", api.HealthPassing)
		a.WaitConnect("db", 1)
		web := runProxy(t, a, "-service", "web", "-upstream", fmt.Sprintf("db:%d", port+1)).ready()
		reaches(t, at(port+1), "db")

		a.Deregister("db-proxy-7")
		waiting(outer, func() { a.WaitCheck("db-proxy-7", api.HealthPassing) })

		p.Signal(syscall.SIGTERM)
		if code := p.Wait(soon); code != 0 {
			t.Errorf("exit code %d", code)
		}
		a.WaitConnect("db", 0)
		agents, err := a.Client.Agent().Services()
		if err != nil || agents["db-proxy-7"] != nil {
			t.Errorf("it is still registered: %v, %v", agents, err)
		}
		web.ready()
	})
}

func TestAProxyIsConfiguredByTheEndpointThatConsul12Has(t *testing.T) {
	agenttest.SkipShort(t)
	parallel(t)
	f := fakeagent.New(t, fakeagent.Options{Managed: true})
	db := app(t, "db")
	port := agenttest.FreePorts(t, 2)
	f.Instance("db", port)
	f.Answer("/v1/agent/connect/proxy/db-proxy", map[string]any{
		"ProxyServiceID": "db-proxy", "TargetServiceID": "db", "TargetServiceName": "db",
		"ContentHash": "5e5ba9eb1b60a05c", "ExecMode": "daemon", "Command": []string{"connect-proxy"},
		"Config": map[string]any{
			"bind_address": "127.0.0.1", "bind_port": port, "local_service_address": db.Addr(),
			"upstreams": []map[string]any{{
				"destination_type": "service", "destination_name": "db", "local_bind_port": port + 1,
				"connect_timeout_ms": 4321,
			}},
		},
	})
	p := agenttest.StartProxy(t, []string{"CONSUL_HTTP_ADDR=" + f.URL, "CONNECT_PROXY_ID=db-proxy", "CONNECT_PROXY_TOKEN=" + "0"}, "-log-level", "debug")
	p.WaitOutput(soon, "in force: mode=managed service=db")
	p.WaitOutput(soon, "connect_timeout=4.321s")
	reaches(t, at(port+1), "db")
	p.Signal(syscall.SIGINT)
	if code := p.Wait(soon); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if !strings.Contains(p.Output.String(), "drained") {
		t.Error("it did not drain")
	}
}

func TestAStuckLeafQueryDoesNotDelayTheProgram(t *testing.T) {
	agenttest.SkipShort(t)
	parallel(t)
	f := fakeagent.New(t, fakeagent.Options{})
	f.StickLeafs()
	db := app(t, "db")
	port := agenttest.FreePorts(t, 2)
	f.Instance("db", port)
	agenttest.Binary(t) // whose build is no part of the program's start
	begin := time.Now()
	runProxyAt(t, f.URL, "", "-service", "db", "-service-addr", db.Addr(), "-listen", at(port), "-upstream", fmt.Sprintf("db:%d", port+1))
	reaches(t, at(port+1), "db")
	if took := time.Since(begin); took > 10*time.Second {
		t.Errorf("it served after %s", took)
	}
}

func open(port int) error {
	c, err := net.Dial("tcp", at(port))
	if err != nil {
		return err
	}
	return c.Close()
}
