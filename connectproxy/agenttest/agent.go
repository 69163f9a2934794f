package agenttest

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"connect-proxy/connectproxy/agenttest/agentbuild"
)

// Agent is a running Consul agent, which is its own server. It is not safe for
// more than one goroutine.
type Agent struct {
	// Client talks to the agent, with Token.
	Client *api.Client
	// HTTPAddr is host:port.
	HTTPAddr string
	// WANAddr is host:port of the gossip between datacenters.
	WANAddr string
	// Token may do everything; empty where there are no ACLs.
	Token string
	// DataDir and ConfigDir are the agent's.
	DataDir, ConfigDir string
	// Datacenter and NodeName are those of the Options.
	Datacenter, NodeName string
	// ProxyPort is the first of the six ports that the agent gives to the
	// proxies it launches.
	ProxyPort int
	// Started is how long the last start took until the agent was ready.
	Started time.Duration

	t         testing.TB
	release   agentbuild.Release
	persist   bool
	binary    string
	env       []string
	transport *http.Transport
	process   *Process
	guard     *guard
	// earlier is what the agent wrote before its last start.
	earlier string
}

// startWithin bounds a start on a machine that builds and tests at once.
const startWithin = 60 * time.Second

// Managed starts Consul 1.5.3, which launches proxies itself.
func Managed(t testing.TB, o Options) *Agent {
	t.Helper()
	return start(t, agentbuild.Managed, o.withDefaults())
}

// Modern starts Consul 1.15.4.
func Modern(t testing.TB, o Options) *Agent {
	t.Helper()
	return start(t, agentbuild.Modern, o.withDefaults())
}

// Both runs the test as two subtests, one with each agent.
func Both(t *testing.T, o Options, test func(t *testing.T, a *Agent)) {
	t.Run("Consul "+agentbuild.Managed.Version, func(t *testing.T) { test(t, Managed(t, o)) })
	t.Run("Consul "+agentbuild.Modern.Version, func(t *testing.T) { test(t, Modern(t, o)) })
}

// SkipShort skips a test that starts agents when -short is set.
func SkipShort(t testing.TB) {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a real Consul agent: not with -short")
	}
}

// Build returns the path of an agent's binary, built at the first use.
func Build(t testing.TB, r agentbuild.Release) string {
	t.Helper()
	path, err := agentbuild.Path(context.Background(), r, os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func start(t testing.TB, r agentbuild.Release, o Options) *Agent {
	t.Helper()
	a := &Agent{
		DataDir:    o.DataDir,
		ConfigDir:  t.TempDir(),
		Datacenter: o.Datacenter,
		NodeName:   o.NodeName,
		t:          t,
		release:    r,
		persist:    o.Persist,
		binary:     Build(t, r),
		transport:  &http.Transport{},
	}
	if a.DataDir == "" {
		a.DataDir = t.TempDir()
	}
	if o.ACL {
		a.Token = newUUID()
	}
	a.env = append([]string{a.mark()}, o.Env...)
	first := FreePorts(t, portCount)
	a.HTTPAddr, a.WANAddr, a.ProxyPort = loopback(first), loopback(first+3), first+4
	a.Client = a.ClientWithToken(a.Token)
	if err := writeConfig(a.ConfigDir, settings(r, o, first, a.Token), o.HCL); err != nil {
		t.Fatalf("writing the agent's configuration: %v", err)
	}
	if a.ManagesProxies() {
		var err error
		if a.guard, err = newGuard(a.DataDir); err != nil {
			t.Fatalf("starting the guard: %v", err)
		}
	}
	t.Cleanup(a.end)
	a.launchUntilReady(func() {
		a.killProxies()
		// An agent of 1.5 that finds a proxy in it that has ended starts that one
		// again without its log.
		_ = os.Remove(filepath.Join(a.DataDir, "proxy", "snapshot.json"))
	})
	return a
}

// launchUntilReady starts the agent, and again where it has missed the CA, after
// clearing what the earlier one left.
func (a *Agent) launchUntilReady(clear func()) {
	a.t.Helper()
	a.Launch()
	for range 3 {
		if !a.missedCA() {
			break
		}
		a.Kill()
		clear()
		a.Launch()
	}
	a.WaitReady()
}

// Start starts a stopped agent again, with the same ports, configuration and
// data directory, and waits until it is ready.
func (a *Agent) Start() {
	a.t.Helper()
	a.launchUntilReady(func() {}) // proxies go on running
}

// Launch is Start without the wait: for an agent that is not meant to become
// ready, and for a test that watches it do so.
func (a *Agent) Launch() {
	a.t.Helper()
	if a.process != nil {
		if a.process.Running() {
			a.t.Fatal("the agent runs already")
		}
		a.earlier += a.process.Output.String()
	}
	args := []string{"agent", "-config-dir", a.ConfigDir, "-data-dir", a.DataDir}
	if a.persist {
		args = append(args, "-bootstrap")
	} else {
		// Raft in memory, with time-outs of tens of milliseconds.
		args = append(args, "-dev")
	}
	p, err := startProcess(a.t, ProcessOptions{Path: a.binary, Args: args, Env: a.env, Dir: a.ConfigDir})
	if err != nil {
		a.t.Fatalf("starting the agent: %v", err)
	}
	// A line for each request drowns the rest: a test polls.
	p.noise = []string{"http: Request GET", "agent.http: Request finished: method=GET"}
	a.process = p
	a.guard.watch(p.Pid())
}

// Stop asks the agent to end, as an init system does, and waits for that.
// Proxies that it launched go on running.
func (a *Agent) Stop() {
	a.t.Helper()
	a.process.Signal(sigTerm)
	a.process.Wait(20 * time.Second)
	a.transport.CloseIdleConnections()
}

// Kill ends the agent at once. Proxies that it launched go on running.
func (a *Agent) Kill() {
	a.t.Helper()
	a.process.Signal(os.Kill)
	a.process.Wait(20 * time.Second)
	a.transport.CloseIdleConnections()
}

// Pause stops the agent where it is: its sockets stay open and it answers
// nothing until Resume.
func (a *Agent) Pause() {
	a.t.Helper()
	a.process.Signal(sigStop)
	// The kernel stops one thread after the other: until it has come to the last
	// of them, one may answer.
	Eventually(a.t, 5*time.Second, func() error { return stopped(a.process.Pid()) })
}

// Resume ends a Pause.
func (a *Agent) Resume() {
	a.t.Helper()
	a.process.Signal(sigCont)
}

// SetConfig replaces a configuration file of the test's own, HCL or JSON, or
// removes it if text is empty, and has the agent read its configuration again.
// The files of Options.HCL are called "01-test", "02-test" and so on.
func (a *Agent) SetConfig(name, text string) {
	a.t.Helper()
	if err := writeExtra(a.ConfigDir, name, text); err != nil {
		a.t.Fatalf("writing the agent's configuration: %v", err)
	}
	a.Reload()
}

// Reload has the agent read its configuration again.
func (a *Agent) Reload() {
	a.t.Helper()
	if err := a.Client.Agent().Reload(); err != nil {
		a.t.Fatalf("reloading the agent: %v", err)
	}
}

// Logs is everything that the agent has written, earlier runs included.
func (a *Agent) Logs() string { return a.earlier + a.process.Output.String() }

// Pid is the process ID of the agent's last run.
func (a *Agent) Pid() int { return a.process.Pid() }

// Version is Consul's.
func (a *Agent) Version() string { return a.release.Version }

// ManagesProxies reports whether the agent launches proxies itself.
func (a *Agent) ManagesProxies() bool { return a.release == agentbuild.Managed }

// ClientWithToken makes a client with another token; empty is the anonymous
// one.
func (a *Agent) ClientWithToken(token string) *api.Client {
	a.t.Helper()
	c, err := api.NewClient(&api.Config{
		Address:    a.HTTPAddr,
		Scheme:     "http",
		Token:      token,
		HttpClient: &http.Client{Transport: a.transport},
	})
	if err != nil {
		a.t.Fatalf("making a client: %v", err)
	}
	return c
}

// end kills the agent first, since it would start its proxies again.
func (a *Agent) end() {
	if a.process != nil {
		a.process.end()
	}
	a.killProxies()
	a.guard.done()
	a.transport.CloseIdleConnections()
	if a.t.Failed() {
		a.logProxies()
	}
}

// logProxies shows what the agent's proxies wrote, each the end of it.
func (a *Agent) logProxies() {
	files, _ := filepath.Glob(filepath.Join(a.DataDir, "proxy", "logs", "*.log"))
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil || len(text) == 0 {
			continue
		}
		l := Log{text: text}
		a.t.Logf("the end of %s:\n%s", filepath.Base(file), strings.TrimSpace(l.Tail(60)))
	}
}
