package agenttest_test

import (
	"encoding/json"
	"flag"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"connect-proxy/connectproxy/agenttest"
	"connect-proxy/connectproxy/agenttest/agentbuild"
)

var update = flag.Bool("update", false, "record the answers of real agents anew")

// noKey stands in a recorded leaf in place of its private key.
const noKey = "removed: a private key is never stored"

func TestTheRecordedAnswersAreThoseOfTheRealAgents(t *testing.T) {
	agenttest.SkipShort(t)
	agenttest.Both(t, agenttest.Options{}, func(t *testing.T, a *agenttest.Agent) {
		release := agentbuild.Modern
		if a.ManagesProxies() {
			release = agentbuild.Managed
		}
		a.Register(webWithSidecar())
		a.WaitConnect("web", 1)
		a.Intention("api", "web", "allow")
		a.Intention("db", "web", "deny")
		a.PutQuery(map[string]any{"Name": "near-web", "Service": map[string]any{"Service": "web", "Connect": true}})
		for _, q := range asked {
			got := fetch(t, "http://"+a.HTTPAddr, a.Token, q.method, q.path, q.body)
			if q.name == "leaf" {
				got.body = withoutKey(t, got.body)
			}
			if *update {
				if err := os.WriteFile(file(t, q.name, release), []byte(got.String()), 0o644); err != nil {
					t.Fatal(err)
				}
				continue
			}
			if diff := cmp.Diff(readRecorded(t, q.name, release).shape(t), got.shape(t)); diff != "" {
				t.Errorf("%s: recorded (-), answered (+):\n%s", q.name, diff)
			}
		}
	})
}

func withoutKey(t *testing.T, body []byte) []byte {
	t.Helper()
	var leaf map[string]any
	if err := json.Unmarshal(body, &leaf); err != nil {
		t.Fatal(err)
	}
	leaf["PrivateKeyPEM"] = noKey
	text, err := json.MarshalIndent(leaf, "", "    ")
	if err != nil {
		t.Fatal(err)
	}
	return text
}
