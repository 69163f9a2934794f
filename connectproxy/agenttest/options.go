package agenttest

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"connect-proxy/connectproxy/agenttest/agentbuild"
)

// Options say how an agent is set up. The zero value is a single server without
// ACLs that keeps its state in memory.
type Options struct {
	// HCL is the text of further configuration files, HCL, or JSON where it
	// begins with a brace. They are read after the generated one.
	HCL []string
	// Persist keeps Consul's own state (the CA, intentions, ACLs, the catalog)
	// on disk, so that it outlives Stop and Kill. It makes each start about 1.5
	// seconds slower. What an agent registered itself and the snapshot of the
	// proxies it launched are on disk either way.
	Persist bool
	// DataDir is the data directory; empty is a temporary one.
	DataDir string
	// ACL turns on the ACL system with default_policy "deny"; Agent.Token may
	// do everything.
	ACL bool
	// Env is added to the agent's environment, which the proxies it launches
	// inherit.
	Env []string
	// Datacenter is the datacenter's name; empty is "dc1".
	Datacenter string
	// NodeName is the node's name; empty is "node-1".
	NodeName string
	// LogLevel is the agent's; empty is "debug".
	LogLevel string
}

func (o Options) withDefaults() Options {
	if o.Datacenter == "" {
		o.Datacenter = "dc1"
	}
	if o.NodeName == "" {
		o.NodeName = "node-1"
	}
	if o.LogLevel == "" {
		o.LogLevel = "debug"
	}
	return o
}

// portCount is how many ports an agent takes in a row: its own and those it
// gives to proxies.
const portCount = 16

// settings is the generated part of an agent's configuration.
func settings(r agentbuild.Release, o Options, firstPort int, token string) map[string]any {
	connect := map[string]any{"enabled": true}
	if r == agentbuild.Managed && os.Geteuid() == 0 {
		connect["proxy"] = map[string]any{"allow_managed_root": true}
	}
	ports := map[string]any{
		"http":             firstPort,
		"server":           firstPort + 1,
		"serf_lan":         firstPort + 2,
		"serf_wan":         firstPort + 3,
		"dns":              -1,
		"grpc":             -1,
		"proxy_min_port":   firstPort + 4,
		"proxy_max_port":   firstPort + 9,
		"sidecar_min_port": firstPort + 10,
		"sidecar_max_port": firstPort + portCount - 1,
	}
	if r == agentbuild.Modern {
		ports["grpc_tls"] = -1
	}
	s := map[string]any{
		"server":               true,
		"node_name":            o.NodeName,
		"datacenter":           o.Datacenter,
		"bind_addr":            "127.0.0.1",
		"client_addr":          "127.0.0.1",
		"log_level":            o.LogLevel,
		"disable_update_check": true,
		"connect":              connect,
		"performance":          map[string]any{"raft_multiplier": 1},
		"ports":                ports,
	}
	if o.ACL {
		management := "initial_management"
		if r == agentbuild.Managed {
			management = "master"
		}
		s["acl"] = map[string]any{
			"enabled":        true,
			"default_policy": "deny",
			"tokens":         map[string]any{management: token, "agent": token},
		}
	}
	return s
}

// writeConfig writes the generated configuration and the test's own, as files
// that are read in that order.
func writeConfig(dir string, generated map[string]any, extra []string) error {
	text, err := json.MarshalIndent(generated, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "00-generated.json"), text, 0o600); err != nil {
		return err
	}
	for i, text := range extra {
		if err := writeExtra(dir, fmt.Sprintf("%02d-test", i+1), text); err != nil {
			return err
		}
	}
	return nil
}

// writeExtra replaces the configuration file of that name, whichever of the two
// languages it was in.
func writeExtra(dir, name, text string) error {
	for _, ext := range []string{".hcl", ".json"} {
		if err := os.Remove(filepath.Join(dir, name+ext)); err != nil && !os.IsNotExist(err) {
			return err
		}
	}
	ext := ".hcl"
	if strings.HasPrefix(strings.TrimSpace(text), "{") {
		ext = ".json"
	}
	if text == "" {
		return nil
	}
	return os.WriteFile(filepath.Join(dir, name+ext), []byte(text), 0o600)
}

// newUUID makes a random token.
func newUUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails, says crypto/rand
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
