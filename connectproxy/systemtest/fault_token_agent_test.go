package systemtest_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"connect-proxy/connectproxy/agenttest"
)

func TestATokenMayBeReplacedLoseItsRightsAndBeDeleted(t *testing.T) {
	agenttest.SkipShort(t)
	parallel(t)
	a := agenttest.Modern(t, agenttest.Options{ACL: true})
	a.Intention("*", "db", "allow")
	a.Intention("*", "web", "allow")
	file := filepath.Join(t.TempDir(), "token")
	write := func(token string) { writeToken(t, file, token) }
	rules := smallestPolicy("db", "web") + smallestPolicy("web", "db")
	tokens := []string{a.PutToken(rules), a.PutToken(rules), a.PutToken(rules)}
	write(tokens[0])
	m := startMesh(t, a, meshOptions{
		config: map[string]any{"handshake_timeout_ms": judgedWithin},
		token:  func(string) string { return "" }, // none but the file's
		args:   []string{"-token-file", file},
	})

	t.Log("replaced, and the old one deleted")
	w := m.witness("witness-1")
	write(tokens[1])
	a.DeleteToken(tokens[0])
	w.sees(time.Now())
	m.load.flows(20)
	m.load.unharmed(m.began)
	for _, n := range []*node{m.db, m.web} {
		n.proxy.ready()
	}

	t.Log("without its rights for a while")
	w = m.witness("witness-2")
	stranger := newCaller(t, a, "stranger-2")
	links := m.rights(tokens[1], nil)
	m.refusedByTheAgent("anybody-2")
	stranger.refused(m.db)
	m.load.unharmed(m.began)
	m.rights(tokens[1], links)
	// The agent judges by a copy of the intentions of its own for each token,
	// and takes its time to renew one that it could not.
	w.seesWithin(time.Now(), time.Minute)

	t.Log("deleted, and another one given")
	w = m.witness("witness-3")
	stranger = newCaller(t, a, "stranger-3")
	a.DeleteToken(tokens[1])
	m.refusedByTheAgent("anybody-3")
	stranger.refused(m.db)
	m.load.unharmed(m.began)
	write(tokens[2])
	w.sees(time.Now())

	m.load.stop()
	m.load.unharmed(m.began)
	for _, n := range []*node{m.db, m.web} {
		n.proxy.ready()
		for _, token := range tokens {
			if strings.Contains(n.proxy.Output.String(), token) {
				t.Errorf("the log of %s has a token", n.name)
			}
		}
	}
}

// writeToken renames a token into place, as whoever rotates it should.
func writeToken(t *testing.T, file, token string) {
	t.Helper()
	if err := os.WriteFile(file+".new", []byte(token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		t.Fatal(err)
	}
}

// rights gives a token these policies and returns those it had.
func (m *mesh) rights(secret string, links []*api.ACLTokenPolicyLink) []*api.ACLTokenPolicyLink {
	m.t.Helper()
	self, _, err := m.agent.ClientWithToken(secret).ACL().TokenReadSelf(nil)
	if err != nil {
		m.t.Fatal(err)
	}
	had := self.Policies
	self.Policies = links
	if _, _, err := m.agent.Client.ACL().TokenUpdate(self, nil); err != nil {
		m.t.Fatal(err)
	}
	return had
}

// refusedByTheAgent waits until db's proxy has been refused what it asks. What
// the agent holds it answers with the next change: here that of an intention.
func (m *mesh) refusedByTheAgent(anybody string) {
	m.t.Helper()
	m.agent.Intention(anybody, "db", "deny")
	agenttest.Eventually(m.t, soon, func() error {
		s, err := m.db.proxy.health()
		if err != nil {
			return err
		}
		for permission, said := range map[string]string{
			"service:write": s.Authorizer.Problem, "intentions:read": s.Authorizer.Intentions.Error,
		} {
			if !strings.Contains(said, `the token needs `+permission+` on "db"`) {
				return fmt.Errorf("it does not say that %s is missing: %q", permission, said)
			}
		}
		return nil
	})
	m.load.flows(20)
}
