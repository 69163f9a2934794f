package systemtest_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"connect-proxy/connectproxy/agenttest"
)

// command is what an agent launches.
func command(t *testing.T) []string {
	return []string{agenttest.Binary(t), "-log-level", "debug"}
}

func TestAManagedProxySeesAChangeOfTheInstancesWithinTwoSeconds(t *testing.T) {
	agenttest.SkipShort(t)
	parallel(t)
	db := app(t, "db")
	port := agenttest.FreePorts(t, 2)
	web := &proxyProcess{t: t, admin: at(port + 1)}
	a := agenttest.Managed(t, agenttest.Options{HCL: []string{
		agenttest.ManagedService{Name: "db", Port: portOf(db), Command: command(t)}.Text(),
		agenttest.ManagedService{
			Name: "web", Port: 1, Command: append(command(t), "-admin-addr", web.admin),
			Upstreams: []agenttest.ManagedUpstream{{Name: "db", BindPort: port}},
		}.Text(),
	}})
	passes(t, a, "db-proxy")
	passes(t, a, "web-proxy")
	reaches(t, at(port), "db")
	seesInstancesWithin(t, 2*time.Second, a, web, "db", portOf(db))
}

func TestAManagedAgentLaunchesTheProxiesOfTwoServicesAndADeregistrationDrainsOne(t *testing.T) {
	agenttest.SkipShort(t)
	parallel(t)
	db := app(t, "db")
	port := agenttest.FreePorts(t, 2)
	statsd := newStatsd(t)
	a := agenttest.Managed(t, agenttest.Options{HCL: []string{
		fmt.Sprintf("telemetry { statsd_address = %q }", statsd.address()),
		// One by a command of its own, one by the agent-wide default.
		agenttest.ProxyDefaults(append(command(t), "-log-json"), nil),
		agenttest.ManagedService{Name: "Users-DB", Port: portOf(db), Command: command(t)}.Text(),
		agenttest.ManagedService{Name: "web", Port: 1, Upstreams: []agenttest.ManagedUpstream{
			{Name: "Users-DB", BindPort: port},
			{Type: "prepared_query", Name: "users", BindPort: port + 1},
		}}.Text(),
	}})
	for _, id := range []string{"Users-DB-proxy", "web-proxy"} {
		passes(t, a, id)
	}
	reaches(t, at(port), "db")
	a.PutQuery(api.PreparedQueryDefinition{Name: "users", Service: api.ServiceQuery{Service: "Users-DB"}})
	reaches(t, at(port+1), "db")
	c := dial(t, at(port))
	c.wants("db")
	if n := db.Accepted(); n != 3 {
		t.Errorf("the application saw %d connections, three were made: checks reach it", n)
	}
	if log := a.ProxyLog("Users-DB-proxy"); !strings.Contains(log, "in force: mode=managed service=Users-DB peer=spiffe://") {
		t.Errorf("db is not in force:\n%s", log)
	}
	if log := a.ProxyLog("web-proxy"); !strings.Contains(log, `"mode":"managed"`) || !strings.Contains(log, "spiffe://") {
		t.Errorf("web is not in force:\n%s", log)
	}
	// Until it is in force the agent may itself have been starting.
	log := a.ProxyLog("Users-DB-proxy")
	calm(t, log[max(0, strings.LastIndex(log, ": in force: ")):])
	// The agent tells its proxies where it sends metrics itself.
	statsd.awaitLine(`^consul\.proxy\.web\.upstream\.tx_bytes\.web\.service\.Users-DB:[1-9]\d*\|c$`)
	pid := a.ProxyPid("Users-DB-proxy")

	a.Deregister("Users-DB")
	deregistered := time.Now()
	agenttest.Eventually(t, soon, func() error {
		if !strings.Contains(a.ProxyLog("Users-DB-proxy"), "draining") {
			return fmt.Errorf("Users-DB-proxy does not drain")
		}
		return nil
	})
	// The work under way is finished.
	c.wants("db")
	agenttest.Always(t, time.Second, func() error {
		_, err := c.ask("still there")
		return err
	})
	c.Close()
	agenttest.Eventually(t, soon, func() error {
		for _, running := range a.ProxyPids() {
			if running == pid {
				return fmt.Errorf("Users-DB-proxy runs after %s", time.Since(deregistered))
			}
		}
		return nil
	})
	if took := time.Since(deregistered); took > 6*time.Second {
		t.Errorf("it ended after %s, killed rather than drained", took)
	}
	if log := a.ProxyLog("Users-DB-proxy"); !strings.Contains(log, ": drained: ") {
		t.Errorf("Users-DB-proxy did not drain:\n%s", log)
	}
}

func TestAManagedProxyThatCannotDrainInTimeCutsWhatIsLeftAndIsNotKilled(t *testing.T) {
	agenttest.SkipShort(t)
	parallel(t)
	db := app(t, "db")
	port := agenttest.FreePort(t)
	a := agenttest.Managed(t, agenttest.Options{HCL: []string{
		agenttest.ManagedService{
			Name: "db", Port: portOf(db), Command: command(t),
			Upstreams: []agenttest.ManagedUpstream{{Name: "db", BindPort: port}},
		}.Text(),
	}})
	passes(t, a, "db-proxy")
	reaches(t, at(port), "db")
	c := dial(t, at(port))
	c.wants("db")
	began := time.Now()
	a.Deregister("db")
	c.ended(soon)
	if took := time.Since(began); took < 3*time.Second || took > 6*time.Second {
		t.Errorf("cut after %s", took)
	}
	agenttest.Eventually(t, soon, func() error {
		if pids := a.ProxyPids(); len(pids) > 0 {
			return fmt.Errorf("%v run", pids)
		}
		if log := a.ProxyLog("db-proxy"); !strings.Contains(log, "open connections were cut") {
			return fmt.Errorf("the log does not say what was cut:\n%s", log)
		}
		return nil
	})
}

func TestAProxyIsAdoptedByItsAgentsSuccessorAndNoConnectionIsCut(t *testing.T) {
	agenttest.SkipShort(t)
	parallel(t)
	db := app(t, "db")
	port := agenttest.FreePort(t)
	a := agenttest.Managed(t, agenttest.Options{Persist: true, HCL: []string{
		agenttest.ManagedService{Name: "db", Port: portOf(db), Command: command(t)}.Text(),
		agenttest.ManagedService{
			Name: "web", Port: 1, Command: command(t),
			Upstreams: []agenttest.ManagedUpstream{{Name: "db", BindPort: port}},
		}.Text(),
	}})
	before := map[string]int{}
	for _, id := range []string{"db-proxy", "web-proxy"} {
		passes(t, a, id)
		before[id] = a.ProxyPid(id)
		a.WaitSnapshot(id)
	}
	reaches(t, at(port), "db")
	c := dial(t, at(port))
	c.wants("db")
	traffic := func(during time.Duration) {
		t.Helper()
		agenttest.Always(t, during, func() error {
			_, err := c.ask("over and over")
			return err
		})
	}
	a.Stop()
	traffic(time.Second)
	dial(t, at(port)).wants("db")
	a.Start()
	traffic(time.Second)
	for id, pid := range before {
		passes(t, a, id)
		if now := a.ProxyPid(id); now != pid {
			t.Errorf("%s is process %d now, it was %d", id, now, pid)
		}
	}
	traffic(100 * time.Millisecond)
	reaches(t, at(port), "db")
	// The agent that adopted it is obeyed as the one that launched it was.
	a.Deregister("web")
	closed(t, port)
}

// passes waits until the agent's check of a managed proxy passes.
func passes(t *testing.T, a *agenttest.Agent, id string) {
	t.Helper()
	waiting(t, func() { // an agent looks every ten seconds
		agenttest.Eventually(t, managedStart, func() error {
			got, _, err := a.Client.Agent().AgentHealthServiceByID(id)
			if err == nil && got != "passing" {
				err = fmt.Errorf("%s is %s", id, got)
			}
			return err
		})
	})
}
