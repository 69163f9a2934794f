package cli

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"time"

	"connect-proxy/connectproxy/agenttest"
)

// A whole renewal under a running proxy: another CA, another certificate of the
// agent, another one of the proxy's, and an agent that no longer takes the old.
func TestARealAgentIsReachedAfterAllOfItsTLSWasReplaced(t *testing.T) {
	agenttest.SkipShort(t)
	first, second := agenttest.NewAuthority(t, "first"), agenttest.NewAuthority(t, "second")
	theirs, ours := agenttest.NewTLSPaths(t, first, first, "agent"), agenttest.NewTLSPaths(t, first, first, "proxy")
	https, admin := agenttest.FreePort(t), fmt.Sprintf("127.0.0.1:%d", agenttest.FreePort(t))
	agent := agenttest.Modern(t, agenttest.Options{HCL: []string{fmt.Sprintf(`
ports { https = %d }
tls { https {
  ca_file = %q
  cert_file = %q
  key_file = %q
  verify_incoming = true
} }
`, https, theirs.CA, theirs.Cert, theirs.Key)}})
	p := agenttest.StartProcess(t, agenttest.ProcessOptions{
		Path: self(t),
		Args: []string{"-service", "web", "-upstream", fmt.Sprintf("db:%d", agenttest.FreePort(t)), "-admin-addr", admin},
		Env: []string{asProgram + "=1", fmt.Sprintf("CONSUL_HTTP_ADDR=https://127.0.0.1:%d", https),
			"CONSUL_CACERT=" + ours.CA, "CONSUL_CLIENT_CERT=" + ours.Cert, "CONSUL_CLIENT_KEY=" + ours.Key},
	})
	p.WaitOutput(soon, " ready")
	before := trustDomain(t, agent)

	agent.Stop()
	for _, paths := range []agenttest.TLSPaths{theirs, ours} {
		agenttest.WriteFile(t, paths.CA, second.PEM)
	}
	theirs.Replace(t, second, "agent")
	cert, key := second.Issue(t, "proxy", time.Now().Add(-time.Hour), time.Now().Add(3*24*time.Hour))
	agenttest.WriteFile(t, ours.Cert, cert)
	agenttest.WriteFile(t, ours.Key, key)
	agent.Start()
	domain := trustDomain(t, agent)
	if domain == before {
		t.Fatal("the agent is the same as before: the test would show nothing")
	}
	agenttest.Eventually(t, soon, func() error {
		var now struct {
			Identity struct {
				TrustDomain string `json:"trust_domain"`
			}
			Agent struct {
				Problem  string
				Warnings []string
				Until    time.Time `json:"client_certificate_not_after"`
			}
		}
		if err := health(t, admin, &now); err != nil {
			return err
		}
		if now.Identity.TrustDomain != domain || now.Agent.Problem != "" {
			return fmt.Errorf("the agent was not reached: %+v", now)
		}
		if time.Until(now.Agent.Until) > 4*24*time.Hour || len(now.Agent.Warnings) > 0 {
			t.Errorf("/health speaks of another certificate: %+v", now.Agent)
		}
		return nil
	})
}

// trustDomain is that of the agent's CA, which it made at its start.
func trustDomain(t *testing.T, a *agenttest.Agent) string {
	t.Helper()
	roots, _, err := a.Client.Agent().ConnectCARoots(nil)
	if err != nil {
		t.Fatal(err)
	}
	return roots.TrustDomain
}

// health reads what a proxy's admin listener says of it.
func health(t *testing.T, admin string, into any) error {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: soon}
	text, err := body(t.Context(), client, "http://"+admin+"/health")
	if err != nil {
		return err
	}
	return json.Unmarshal([]byte(text), into)
}
