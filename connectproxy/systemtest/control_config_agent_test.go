package systemtest_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"connect-proxy/connectproxy/agenttest"
)

// changes is a service whose registration changes under traffic.
type changes struct {
	t     *testing.T
	a     *agenttest.Agent
	s     sidecar
	proxy *proxyProcess
	load  *load
}

// put registers the service anew and waits until that is in force, with so many
// listeners closed for it. Nothing else may be noticed.
func (c *changes) put(what string, closed int) {
	c.t.Helper()
	from := time.Now()
	said := len(c.proxy.Output.Lines())
	c.s.register(c.a)
	news := func(text string) (n int) {
		for _, line := range c.proxy.Output.Lines()[said:] {
			if strings.Contains(line, text) {
				n++
			}
		}
		return n
	}
	agenttest.Eventually(c.t, soon, func() error { return c.proxy.configuredSince(from) })
	c.t.Logf("%s: in force after %s", what, time.Since(from).Round(time.Millisecond))
	c.load.flows(10)
	agenttest.Eventually(c.t, soon, func() error {
		if n := news("listener closed"); n < closed {
			return fmt.Errorf("%s: the log says that %d listeners were closed, not %d", what, n, closed)
		}
		return nil
	})
	if n := news("listener closed"); n != closed {
		c.t.Errorf("%s: %d listeners were closed, not %d", what, n, closed)
	}
	if n := news("cannot listen") + news("[ERROR]"); n > 0 {
		c.t.Errorf("%s: %d errors", what, n)
	}
	c.load.unharmed(from)
}

// of sets keys of the configuration of one upstream.
func (c *changes) of(i int, config map[string]any) {
	u := append([]api.Upstream(nil), c.s.upstreams...)
	u[i].Config = patiently(config)
	c.s.upstreams = u
}

// waitedFor is an upstream whose instances are.
func waitedFor(name string, port int) api.Upstream {
	u := up(name, port)
	u.Config = patiently(nil)
	return u
}

// answered opens a connection by an upstream's port.
func answered(t *testing.T, port int, app string) *client {
	t.Helper()
	c := dial(t, at(port))
	c.wants(app)
	return c
}

// limits changes how many connections the upstream of that number may have.
func (c *changes) limits(i, port int) {
	c.t.Helper()
	c.of(i, map[string]any{"limits": map[string]any{"max_connections": 2}})
	c.put("limits", 0)
	held := []*client{answered(c.t, port, "store"), answered(c.t, port, "store")}
	if err := unanswered(at(port)); err != nil {
		c.t.Errorf("beyond limits.max_connections: %v", err)
	}
	held[0].Close()
	reaches(c.t, at(port), "store")
	c.of(i, nil)
	c.put("no limits", 0)
	answered(c.t, port, "store")
	answered(c.t, port, "store")
	held[1].wants("store")
}

// passiveHealth changes when an instance of the upstream of that number, which
// is dead, is set aside.
func (c *changes) passiveHealth(i, port int) {
	c.t.Helper()
	c.of(i, map[string]any{"passive_health_check": map[string]any{"max_failures": 3, "base_ejection_time": "3s"}})
	c.put("passive_health_check", 0)
	aside := func() int { return len(c.proxy.Output.Matching("instance set aside: upstream=dead")) }
	for n := range 3 {
		if aside() > 0 {
			c.t.Errorf("set aside after %d failures", n)
		}
		if err := unanswered(at(port)); err != nil {
			c.t.Error(err)
		}
	}
	agenttest.Eventually(c.t, soon, func() error {
		if aside() != 1 {
			return fmt.Errorf("set aside %d times after 3 failures", aside())
		}
		return nil
	})
}

// keys changes one key after the other.
func (c *changes) keys() {
	c.t.Helper()
	for _, tc := range []struct {
		key   string
		value any
		of    int // upstream; below zero the proxy's own
	}{
		{"balance", "round_robin", 0},
		{"connect_timeout_ms", unhurried + 1, 0},
		{"idle_timeout", "1h", 0},
		{"handshake_timeout_ms", strconv.Itoa(unhurried + 1), -1},
		{"local_connect_timeout_ms", unhurried + 1, -1},
		{"max_stale_authorization", "5m", -1},
		{"max_stale_endpoints", "1h", -1},
	} {
		if tc.of < 0 {
			c.s.config = calmly(map[string]any{tc.key: tc.value})
		} else {
			c.of(tc.of, map[string]any{tc.key: tc.value})
		}
		c.put(tc.key, 0)
	}
}

func TestAChangeUnderTrafficIsNoticedByNobodyElse(t *testing.T) {
	agenttest.SkipShort(t)
	parallel(t)
	a := agenttest.Modern(t, agenttest.Options{})
	port := agenttest.FreePorts(t, 12)
	public, cache, queue, store, web, dead := port, port+1, port+2, port+3, port+4, port+6
	for i, name := range []string{"cache", "queue", "store"} {
		sidecar{name: name, app: portOf(app(t, name)), port: port + 7 + i, config: calmly(nil)}.start(t, a)
		a.WaitConnect(name, 1)
	}
	// An instance that nobody listens for.
	a.Register(&api.AgentServiceRegistration{
		Kind: api.ServiceKindConnectProxy, Name: "dead-proxy", Port: port + 11,
		Proxy: &api.AgentServiceConnectProxyConfig{DestinationServiceName: "dead"},
	})
	old, moved := app(t, "db"), app(t, "db")
	c := &changes{t: t, a: a, s: sidecar{
		name: "db", app: portOf(old), port: public, config: calmly(nil),
		upstreams: []api.Upstream{waitedFor("queue", queue), waitedFor("cache", cache)},
	}}
	c.proxy = c.s.start(t, a)
	caller := sidecar{name: "web", app: 1, port: web, config: calmly(nil), upstreams: []api.Upstream{waitedFor("db", web+1)}}
	caller.start(t, a)
	for p, name := range map[int]string{queue: "queue", cache: "cache", web + 1: "db"} {
		reaches(t, at(p), name)
	}
	began := time.Now()
	c.load = startLoad(t, way{at(queue), "queue"}, way{at(web + 1), "db"})
	c.load.flows(5)

	c.s.upstreams = []api.Upstream{waitedFor("queue", queue), waitedFor("store", store), up("dead", dead)}
	c.s.app = portOf(moved)
	c.put("one upstream for another, and the application's port", 1)
	closed(t, cache)
	reaches(t, at(store), "store")
	before := old.Accepted()
	c.load.flows(5)
	if old.Accepted() != before || moved.Accepted() == 0 {
		t.Errorf("%d new connections reached the old port, %d the new", old.Accepted()-before, moved.Accepted())
	}

	c.limits(1, store)
	c.passiveHealth(2, dead)
	c.keys()

	// There are the talkers, whoever calls just now, and then some: three seconds'
	// callers, where the machine stands still for so long.
	const most = talkers + 60
	c.s.config = calmly(map[string]any{"max_inbound_connections": most})
	c.put("max_inbound_connections", 0)
	c.load.stop()
	c.load.unharmed(began)
	who := newCaller(t, a, "caller")
	many := who.holds(most, public, "db")
	if _, err := who.call(public, "db"); err == nil {
		t.Error("beyond max_inbound_connections")
	}
	many[0].Close()
	who.holds(1, public, "db")
	many[1].wants("db")
}
