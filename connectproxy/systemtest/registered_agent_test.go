package systemtest_test

import (
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"connect-proxy/connectproxy/agenttest"
)

func TestRegisteredProxiesCarryTrafficBetweenServicesOfAnyCase(t *testing.T) {
	agenttest.SkipShort(t)
	parallel(t)
	a := agenttest.Modern(t, agenttest.Options{})
	one, two := app(t, "one"), app(t, "two")
	port := agenttest.FreePorts(t, 6)

	// The name is in mixed case, there are two instances, and their tagged
	// addresses lead nowhere: within a datacenter a service's own one counts.
	nowhere := map[string]api.ServiceAddress{"lan": {Address: "127.0.0.1", Port: 1}, "wan": {Address: "127.0.0.1", Port: 1}}
	first := sidecar{name: "Orders-API", id: "orders-1", app: portOf(one), port: port, tagged: nowhere}
	second := sidecar{name: "Orders-API", id: "orders-2", app: portOf(two), port: port + 1, tagged: nowhere}
	server := first.start(t, a)
	second.start(t, a)
	web := sidecar{name: "Web", app: 1, port: port + 2, upstreams: []api.Upstream{up("Orders-API", port+3), up("orders-api", port+4)}}
	client := web.start(t, a)
	a.WaitConnect("Orders-API", 2)

	reaches(t, at(port+3), "one")
	reaches(t, at(port+3), "two")
	reaches(t, at(port+4), "two")
	server.WaitOutput(soon, "in force: mode=registered service=Orders-API peer=spiffe://")

	t.Run("a change of the instances is seen within two seconds", func(t *testing.T) {
		seesInstancesWithin(t, 2*time.Second, a, client, "Orders-API", second.port)
	})

	t.Run("an intention ends open connections and refuses new ones", func(t *testing.T) {
		before := one.Accepted() + two.Accepted()
		c := dial(t, at(port+3))
		c.wants("one", "two")
		a.Intention("Web", "Orders-API", "deny")
		c.ended(soon)
		agenttest.Eventually(t, soon, func() error { return unanswered(at(port + 3)) })
		reached := one.Accepted() + two.Accepted()
		if err := unanswered(at(port + 3)); err != nil {
			t.Error(err)
		}
		if now := one.Accepted() + two.Accepted(); now != reached || now == before {
			t.Errorf("a denied connection reached the application (%d, %d, %d)", before, reached, now)
		}
		a.Intention("Web", "Orders-API", "allow")
		reaches(t, at(port+3), "one")
	})

	t.Run("a check that only connects is silent", func(t *testing.T) {
		before := one.Accepted()
		for range 60 {
			c, err := net.Dial("tcp", at(port))
			if err != nil {
				t.Fatal(err)
			}
			c.Close()
		}
		// Those, and the agent's own: one each second.
		agenttest.Eventually(t, soon, func() error {
			if n := strings.Count(server.Output.String(), "reason=silent"); n < 63 {
				return fmt.Errorf("%d silent connections", n)
			}
			return nil
		})
		if now := one.Accepted(); now != before {
			t.Errorf("checks made %d connections to the application", now-before)
		}
		for _, line := range server.Output.Matching("[WARN]", "[ERROR]") {
			if !strings.Contains(line, "denied") && !strings.Contains(line, "intention_revoked") {
				t.Errorf("the log has %s", line)
			}
		}
	})
}

func TestAChangedRegistrationTouchesOnlyWhatItNames(t *testing.T) {
	agenttest.SkipShort(t)
	parallel(t)
	a := agenttest.Modern(t, agenttest.Options{})
	old, moved := app(t, "old"), app(t, "moved")
	port := agenttest.FreePorts(t, 6)
	public, pa, pb, pc := port, port+1, port+2, port+3
	for i, name := range []string{"cache", "queue"} {
		sidecar{name: name, app: portOf(app(t, name)), port: port + 4 + i}.start(t, a)
	}
	s := sidecar{name: "db", app: portOf(old), port: public, upstreams: []api.Upstream{up("cache", pa), up("db", pb)}}
	p := s.start(t, a)
	reaches(t, at(pa), "cache")
	reaches(t, at(pb), "old")
	kept := dial(t, at(pb))
	kept.wants("old")

	s.upstreams = []api.Upstream{up("db", pb), up("queue", pc)}
	s.app = portOf(moved)
	s.register(a)
	closed(t, pa)
	reaches(t, at(pc), "queue")
	reaches(t, at(pb), "moved")
	kept.wants("old")
	if strings.Contains(p.Output.String(), "address already in use") {
		t.Error("an address was bound twice")
	}
	p.ready()

	t.Run("a registration that is none leaves the proxy as it is", func(t *testing.T) {
		bad := s
		bad.config = map[string]any{"bind_port": 70000}
		bad.register(a)
		p.WaitOutput(soon, "configuration refused")
		kept.wants("old")
		reaches(t, at(pc), "queue")
		p.ready()
		if n := len(p.Output.Matching("configuration refused")); n != 1 {
			t.Errorf("it was said %d times", n)
		}
	})
}

func TestASignalDrainsAProxyAndASecondEndsItAtOnce(t *testing.T) {
	agenttest.SkipShort(t)
	parallel(t)
	a := agenttest.Modern(t, agenttest.Options{})
	db := app(t, "db")
	port := agenttest.FreePorts(t, 4)
	sidecar{name: "db", app: portOf(db), port: port}.start(t, a)
	start := func(t *testing.T) (p *proxyProcess, inbound, outbound *client) {
		web := sidecar{name: "web", app: portOf(db), port: port + 1, upstreams: []api.Upstream{up("db", port+2), up("web", port+3)}}
		p = web.start(t, a)
		a.WaitConnect("web", 1)
		reaches(t, at(port+2), "db")
		reaches(t, at(port+3), "db")
		inbound, outbound = dial(t, at(port+3)), dial(t, at(port+2))
		inbound.wants("db")
		outbound.wants("db")
		return p, inbound, outbound
	}

	t.Run("the first", func(t *testing.T) {
		p, inbound, outbound := start(t)
		p.Signal(syscall.SIGTERM)
		p.unready("draining")
		closed(t, port+1)
		inbound.wants("db")
		outbound.wants("db")
		late := dial(t, at(port+2))
		late.wants("db")
		if !p.Running() {
			t.Fatal("it ended with connections open")
		}
		for _, c := range []*client{inbound, outbound, late} {
			c.Close()
		}
		if code := p.Wait(soon); code != 0 {
			t.Errorf("exit code %d", code)
		}
		if !strings.Contains(p.Output.String(), "drained") {
			t.Error("the log does not say that it drained")
		}
	})
	t.Run("the second", func(t *testing.T) {
		p, _, outbound := start(t)
		p.Signal(os.Interrupt)
		p.unready("draining")
		outbound.wants("db")
		began := time.Now()
		p.Signal(syscall.SIGTERM)
		p.Wait(soon)
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("it took %s", took)
		}
	})
	t.Run("the deadline", func(t *testing.T) {
		web := sidecar{name: "web", app: portOf(db), port: port + 1, upstreams: []api.Upstream{up("db", port+2)}}
		p := web.start(t, a, "-drain-timeout", "1s")
		reaches(t, at(port+2), "db")
		c := dial(t, at(port+2))
		c.wants("db")
		began := time.Now()
		p.Signal(syscall.SIGTERM)
		c.ended(soon)
		if took := time.Since(began); took < 900*time.Millisecond {
			t.Errorf("cut after %s", took)
		}
		if code := p.Wait(soon); code != 0 {
			t.Errorf("exit code %d", code)
		}
	})
}
