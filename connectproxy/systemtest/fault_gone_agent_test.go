package systemtest_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"connect-proxy/connectproxy/agenttest"
)

func TestTheAgentMayStopBeKilledAndComeBackWithoutItsData(t *testing.T) {
	agenttest.SkipShort(t)
	parallel(t)
	config := map[string]any{"handshake_timeout_ms": judgedWithin}
	m := startMesh(t, agenttest.Modern(t, agenttest.Options{Persist: true}), meshOptions{config: config})

	m.stopped()
	m.restarted()
	m.forgotten()
	m.load.stop()
	m.load.kept(m.began)
}

// stopped is an agent that is stopped and goes on.
func (m *mesh) stopped() {
	m.t.Helper()
	m.t.Log("stopped, and going on")
	w, stranger := m.witness("witness-1"), newCaller(m.t, m.agent, "stranger-1")
	m.agent.Pause()
	stranger.refusedWhile(m.db, func() { m.load.flows(visitsIn(2 * time.Second)) })
	m.agent.Resume()
	w.sees(time.Now())
	m.load.unharmed(m.began)
}

// restarted is an agent that is killed and started again with its data.
func (m *mesh) restarted() {
	m.t.Helper()
	m.t.Log("killed, and started again with its data")
	w, stranger := m.witness("witness-2"), newCaller(m.t, m.agent, "stranger-2")
	killed := time.Now()
	m.agent.Kill()
	m.load.flows(20)
	stranger.refusedWhile(m.db, func() {
		m.blind()
		// Longer than an instance is remembered whose checks do not run.
		m.load.flows(visitsIn(18 * time.Second))
		m.load.flows(visitsIn(18 * time.Second))
	})
	m.load.unharmed(killed)
	m.agent.Start()
	w.sees(time.Now())
	// The agent takes every instance on its node for critical until its checks
	// have run, those that it adds to sidecars every 10 s. That is not believed.
	m.recovers()
	m.load.kept(killed)
	m.load.unharmed(killed)
}

// forgotten is an agent that is killed for longer than decisions may be old,
// and started again without its data.
func (m *mesh) forgotten() {
	m.t.Helper()
	m.t.Log("killed for longer than decisions may be old, and started again without its data")
	for _, n := range []*node{m.db, m.web} {
		from := time.Now()
		n.config["max_stale_authorization"] = "10s"
		n.register(m.agent)
		agenttest.Eventually(m.t, soon, func() error { return n.proxy.configuredSince(from) })
	}
	m.load.flows(20)
	killed := time.Now()
	m.agent.Kill()
	m.load.flows(visitsIn(3 * time.Second))
	m.load.unharmed(killed)
	waiting(m.t, func() {
		agenttest.Eventually(m.t, 2*soon, func() error { return unanswered(at(m.web.to)) })
	})
	if took := time.Since(killed); took < 4*time.Second {
		m.t.Errorf("callers that were known are refused after %s", took)
	}
	m.load.kept(killed)
	empty(m.t, m.agent.DataDir)
	m.agent.Start()
	// The agent knows nobody: who registers services does so again.
	back := time.Now()
	m.db.register(m.agent)
	m.web.register(m.agent)
	m.recovers()
	m.t.Logf("new connections were made again %s after the agent had been told of them", time.Since(back).Round(time.Millisecond))
	m.witness("witness-3").sees(time.Now())
}

// recovers waits until new connections are made both ways and a second has
// passed without one that failed.
func (m *mesh) recovers() {
	m.t.Helper()
	agenttest.Eventually(m.t, effect, func() error {
		from := time.Now().Add(-time.Second)
		o := m.load.outcome(from)
		if len(o.refused) > 0 {
			return o.refused[0].err
		}
		ways := map[way]bool{}
		for _, e := range m.load.since(from) {
			if !e.open {
				ways[e.way] = true
			}
		}
		if len(ways) < 2 {
			return fmt.Errorf("connections are made in %d directions", len(ways))
		}
		return nil
	})
}

// empty removes what is in a directory.
func empty(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
			t.Fatal(err)
		}
	}
}
