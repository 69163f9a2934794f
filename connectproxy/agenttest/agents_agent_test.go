package agenttest_test

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"connect-proxy/connectproxy/agenttest"
	"connect-proxy/connectproxy/agenttest/traffic"
)

func TestAnAgentStartsAndServesARegisteredService(t *testing.T) {
	agenttest.SkipShort(t)
	agenttest.Both(t, agenttest.Options{}, func(t *testing.T, a *agenttest.Agent) {
		t.Logf("ready after %s", a.Started)
		a.Register(&api.AgentServiceRegistration{
			Name: "Web", Port: 8080,
			Connect: &api.AgentServiceConnect{SidecarService: &api.AgentServiceRegistration{
				Check: &api.AgentServiceCheck{TTL: "1h", Status: api.HealthPassing},
			}},
		})
		a.WaitCheck("Web-sidecar-proxy", api.HealthPassing)
		a.WaitConnect("Web", 1)
		a.Deregister("Web-sidecar-proxy")
		a.WaitConnect("Web", 0)
	})
}

func TestAnAgentKeepsItsStateOverARestart(t *testing.T) {
	agenttest.SkipShort(t)
	o := agenttest.Options{Persist: true, ACL: true}
	agenttest.Both(t, o, func(t *testing.T, a *agenttest.Agent) {
		t.Logf("ready after %s", a.Started)
		a.Intention("web", "db", "allow")
		a.Intention("web", "db", "deny")
		token := a.PutToken(`service "web" { policy = "write" }`)
		addr := a.HTTPAddr
		a.Stop()
		a.Start()
		t.Logf("ready again after %s", a.Started)
		if a.HTTPAddr != addr {
			t.Errorf("the agent moved from %s to %s", addr, a.HTTPAddr)
		}
		if _, _, err := a.ClientWithToken(token).ACL().TokenReadSelf(nil); err != nil {
			t.Error(err)
		}
		if allowed(t, a, "web", "db") {
			t.Error("a denied intention was lost")
		}
		a.DeleteIntention("web", "db")
		a.DeleteToken(token)
		agenttest.Eventually(t, 10*time.Second, func() error {
			if _, _, err := a.ClientWithToken(token).ACL().TokenReadSelf(nil); err == nil {
				return fmt.Errorf("the token still works")
			}
			return nil
		})
	})
}

func TestAnAgentInMemoryForgetsOverARestart(t *testing.T) {
	agenttest.SkipShort(t)
	agenttest.Both(t, agenttest.Options{}, func(t *testing.T, a *agenttest.Agent) {
		a.Intention("web", "db", "deny")
		a.Kill()
		a.Start()
		if !allowed(t, a, "web", "db") {
			t.Error("an intention was kept without Persist")
		}
	})
}

func allowed(t *testing.T, a *agenttest.Agent, source, destination string) bool {
	t.Helper()
	allowed, _, err := a.Client.Connect().IntentionCheck(&api.IntentionCheck{
		Source: source, Destination: destination, SourceType: api.IntentionSourceConsul,
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return allowed
}

func TestAPausedAgentAnswersNothingUntilItIsResumed(t *testing.T) {
	agenttest.SkipShort(t)
	a := agenttest.Modern(t, agenttest.Options{})
	a.Pause()
	answered := make(chan error, 1)
	go func() {
		_, err := a.Client.Agent().Self()
		answered <- err
	}()
	agenttest.Always(t, 200*time.Millisecond, func() error {
		if len(answered) > 0 {
			return fmt.Errorf("it answered")
		}
		return nil
	})
	a.Resume()
	if err := <-answered; err != nil {
		t.Error(err)
	}
}

func TestARootIsRotated(t *testing.T) {
	agenttest.SkipShort(t)
	agenttest.Both(t, agenttest.Options{}, func(t *testing.T, a *agenttest.Agent) {
		a.RotateRoot()
		roots, _, err := a.Client.Agent().ConnectCARoots(nil)
		if err != nil || len(roots.Roots) != 2 {
			t.Errorf("%d roots, %v", len(roots.Roots), err)
		}
	})
}

func TestARecorderCountsAndSpoilsWhatARealAgentAnswers(t *testing.T) {
	agenttest.SkipShort(t)
	a := agenttest.Modern(t, agenttest.Options{ACL: true})
	r := a.Record()
	c := r.Client(a.Token)
	_, meta, err := c.Agent().ConnectCALeaf("web", nil)
	if err != nil {
		t.Fatal(err)
	}
	_, next, err := c.Agent().ConnectCALeaf("web", &api.QueryOptions{WaitIndex: meta.LastIndex, WaitTime: 50 * time.Millisecond})
	if err != nil || next.RequestTime < 50*time.Millisecond {
		t.Errorf("a blocking query took %s through the recorder, %v", next.RequestTime, err)
	}
	r.Fail(traffic.Leaf, traffic.Fault{Status: 500, Body: "No cluster leader"})
	if _, _, err := c.Agent().ConnectCALeaf("web", nil); err == nil || !strings.Contains(err.Error(), "No cluster leader") {
		t.Errorf("a spoilt answer gave %v", err)
	}
	if _, _, err := c.Agent().ConnectCARoots(nil); err != nil {
		t.Errorf("another endpoint gave %v", err)
	}
	got := r.Counts(traffic.Leaf)
	if got.Requests != 3 || got.Token != a.Token || r.Requests(traffic.All) != 4 {
		t.Errorf("%+v, %d in all", got, r.Requests(traffic.All))
	}
	a.Stop()
	if _, _, err := c.Agent().ConnectCARoots(nil); err == nil {
		t.Error("the recorder answers for an agent that is gone")
	}
}

// managedSleep is a service whose "proxy" is a process that does nothing.
func managedSleep(t testing.TB) string {
	t.Helper()
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		t.Fatal(err)
	}
	return agenttest.ManagedService{Name: "web", Port: 8080, Command: []string{sleep, "3600"}}.Text()
}

func TestALaunchedProxyOutlivesItsAgentButNotTheTest(t *testing.T) {
	agenttest.SkipShort(t)
	var a *agenttest.Agent
	t.Run("agent", func(t *testing.T) {
		a = agenttest.Managed(t, agenttest.Options{HCL: []string{managedSleep(t)}})
		pid := a.ProxyPid("web-proxy")
		a.WaitSnapshot("web-proxy")
		a.Stop()
		a.Start()
		if again := a.ProxyPid("web-proxy"); again != pid {
			t.Errorf("process %d took the place of %d", again, pid)
		}
		a.Deregister("web")
		agenttest.Eventually(t, 10*time.Second, func() error {
			if pids := a.ProxyPids(); len(pids) > 0 {
				return fmt.Errorf("%v run after the service was deregistered", pids)
			}
			return nil
		})
		a.SetConfig("01-test", managedSleep(t))
		a.ProxyPid("web-proxy")
	})
	if pids := a.ProxyPids(); len(pids) > 0 {
		t.Errorf("%v run after the end of the test", pids)
	}
}

// dieEnv has this test binary start an agent and then do nothing, so that it
// can be killed.
const dieEnv = "AGENTTEST_DIE"

func TestNothingIsLeftOfATestProcessThatIsKilled(t *testing.T) {
	agenttest.SkipShort(t)
	if os.Getenv(dieEnv) != "" {
		a := agenttest.Managed(t, agenttest.Options{HCL: []string{managedSleep(t)}, DataDir: os.Getenv(dieEnv)})
		a.ProxyPid("web-proxy")
		fmt.Println("ready", a.HTTPAddr)
		select {}
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	p := agenttest.StartProcess(t, agenttest.ProcessOptions{
		Path: self, Args: []string{"-test.run", "^" + t.Name() + "$", "-test.v"}, Env: []string{dieEnv + "=" + dir, "TMPDIR=" + dir},
	})
	p.WaitOutput(time.Minute, "ready ")
	if len(agenttest.LaunchedFrom(dir)) != 2 {
		t.Fatalf("an agent and its proxy are %v", agenttest.LaunchedFrom(dir))
	}
	p.Signal(os.Kill)
	p.Wait(10 * time.Second)
	agenttest.Eventually(t, 10*time.Second, func() error {
		if pids := agenttest.LaunchedFrom(dir); len(pids) > 0 {
			return fmt.Errorf("%v go on", pids)
		}
		return nil
	})
}

func TestTwoDatacentersShareARoot(t *testing.T) {
	agenttest.SkipShort(t)
	one := agenttest.Modern(t, agenttest.Options{})
	two := agenttest.Modern(t, agenttest.Options{Datacenter: "dc2", NodeName: "node-2", HCL: []string{agenttest.JoinedTo(one)}})
	t.Logf("the second is ready after %s", two.Started)
	agenttest.Eventually(t, 30*time.Second, func() error {
		first, _, err := one.Client.Agent().ConnectCARoots(nil)
		if err != nil {
			return err
		}
		second, _, err := two.Client.Agent().ConnectCARoots(nil)
		if err == nil && (first.TrustDomain != second.TrustDomain || first.ActiveRootID != second.ActiveRootID) {
			err = fmt.Errorf("%s in one, %s in the other", first.TrustDomain, second.TrustDomain)
		}
		return err
	})
	leaf, _, err := two.Client.Agent().ConnectCALeaf("web", nil)
	if err != nil || !strings.Contains(leaf.ServiceURI, "/dc/dc2/") {
		t.Errorf("%v, %v", leaf, err)
	}
}

func TestTwoAgentsOfEachVersionRunAtOnce(t *testing.T) {
	agenttest.SkipShort(t)
	agents := []*agenttest.Agent{
		agenttest.Managed(t, agenttest.Options{}), agenttest.Managed(t, agenttest.Options{}),
		agenttest.Modern(t, agenttest.Options{}), agenttest.Modern(t, agenttest.Options{}),
	}
	for _, a := range agents {
		if _, err := a.Client.Status().Leader(); err != nil {
			t.Error(err)
		}
		if n := len(strings.Split(a.Logs(), "\n")); n < 10 {
			t.Errorf("%d lines in the log of Consul %s", n, a.Version())
		}
	}
}
