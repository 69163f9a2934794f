package systemtest_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"connect-proxy/connectproxy/agenttest"
	"connect-proxy/connectproxy/agenttest/agentbuild"
)

// clientOf starts an agent without a server's part that joins a server, and
// returns the server's agent as it is seen through that one: registrations and
// questions go there, while Kill and Start stay the server's.
func clientOf(t *testing.T, server *agenttest.Agent) *agenttest.Agent {
	t.Helper()
	dir, port := t.TempDir(), agenttest.FreePorts(t, 3)
	_, p, _ := net.SplitHostPort(server.HTTPAddr)
	http, err := strconv.Atoi(p)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(map[string]any{
		"server": false, "node_name": "node-2", "bind_addr": "127.0.0.1", "client_addr": "127.0.0.1",
		"log_level": "info", "disable_update_check": true, "connect": map[string]any{"enabled": true},
		"retry_join": []string{at(http + 2)}, // the server's gossip
		"ports": map[string]any{
			"http": port, "serf_lan": port + 1, "server": port + 2,
			"dns": -1, "grpc": -1, "grpc_tls": -1, "serf_wan": -1,
		},
	})
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "agent.json"), text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	agenttest.StartProcess(t, agenttest.ProcessOptions{
		Path: agenttest.Build(t, agentbuild.Modern),
		Args: []string{"agent", "-config-dir", dir, "-data-dir", t.TempDir()},
	})
	seen := *server
	seen.HTTPAddr = at(port)
	if seen.Client, err = api.NewClient(&api.Config{Address: seen.HTTPAddr}); err != nil {
		t.Fatal(err)
	}
	agenttest.Eventually(t, 2*soon, func() error {
		roots, _, err := seen.Client.Agent().ConnectCARoots(nil)
		if err == nil && len(roots.Roots) == 0 {
			err = errors.New("no root")
		}
		return err
	})
	return &seen
}

// rememberMember waits until a server has written down that a node is a member of
// its datacenter. A server that was killed before that comes back without the
// node, and takes it and its services out of the catalog.
func rememberMember(t *testing.T, server *agenttest.Agent, node string) {
	t.Helper()
	agenttest.Eventually(t, soon, func() error {
		// What gossip has to write down waits for the next thing that happens.
		if _, _, err := server.Client.Event().Fire(&api.UserEvent{Name: "write"}, nil); err != nil {
			return err
		}
		members, err := os.ReadFile(filepath.Join(server.DataDir, "serf", "local.snapshot"))
		if err == nil && !strings.Contains(string(members), "alive: "+node+" ") {
			err = fmt.Errorf("the server has not written down %s", node)
		}
		return err
	})
}

func TestTheServersMayBeWithoutALeader(t *testing.T) {
	agenttest.SkipShort(t)
	parallel(t)
	server := agenttest.Modern(t, agenttest.Options{Persist: true})
	m := startMesh(t, clientOf(t, server), meshOptions{config: map[string]any{"handshake_timeout_ms": judgedWithin}})
	w := m.witness("witness")
	stranger := newCaller(t, m.agent, "stranger")

	rememberMember(t, server, "node-2")
	server.Kill()
	agenttest.Eventually(t, soon, func() error {
		if _, _, err := m.agent.Client.Health().Connect("db", "", true, nil); err == nil {
			return errors.New("the agent reaches a server")
		}
		return nil
	})
	m.load.flows(visitsIn(7 * time.Second))
	// The agent has the intentions of db in its cache, and judges by them.
	began := time.Now()
	_, err := stranger.call(m.db.port, "db")
	if err != nil {
		t.Errorf("a stranger, after %s: %v", time.Since(began).Round(time.Millisecond), err)
	}
	m.load.unharmed(m.began)
	for _, n := range []*node{m.db, m.web} {
		n.proxy.ready()
	}

	server.Start()
	back := time.Now()
	agenttest.Eventually(t, effect, func() error {
		got, _, err := m.agent.Client.Health().Connect("db", "", true, nil)
		if err == nil && len(got) != 1 {
			err = fmt.Errorf("%d instances", len(got))
		}
		return err
	})
	t.Logf("the agent had a leader again after %s", time.Since(back).Round(time.Millisecond))
	// The agent judges by its copy of the intentions, and waits between two
	// attempts to renew it for up to twice as long as it has failed.
	w.seesWithin(time.Now(), time.Minute)
	m.load.stop()
	m.load.unharmed(m.began)
}
