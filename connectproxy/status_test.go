package connectproxy

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"connect-proxy/config"
	"connect-proxy/connectproxy/agenttest"
	"connect-proxy/connectproxy/agenttest/fakeagent"
)

func TestReadinessNamesEverythingThatIsMissing(t *testing.T) {
	t.Parallel()
	public := &spec{key: key{role: rolePublic}, name: "public", bind: tcp("0.0.0.0", 20000)}
	db := &spec{key: key{role: roleUpstream}, name: "db", bind: tcp("127.0.0.1", 8181)}
	for _, tc := range []struct {
		name string
		v    readinessInput
		want []string
	}{
		{"all is well", readinessInput{configured: true, listeners: []ListenerStatus{{Name: "db", Bound: "127.0.0.1:8181"}}}, []string{}},
		{"a bad configuration after a good one", readinessInput{configured: true, configProblem: "invalid"}, []string{}},
		{"before the first configuration", readinessInput{configProblem: "agent is down"}, []string{"no configuration yet: agent is down"}},
		{"at the very start", readinessInput{}, []string{"no configuration yet"}},
		{"draining before the first configuration", readinessInput{draining: true}, []string{"the proxy is draining", "no configuration yet"}},
		{"no leaf", readinessInput{configured: true, identities: []string{"no certificates yet", ""}, closed: []closedListener{{public, ""}}}, []string{
			"no certificates yet",
			"listener public (0.0.0.0:20000): closed until there is a valid leaf certificate",
		}},
		{"listeners that could not be opened", readinessInput{configured: true, closed: []closedListener{{public, "no such policy"}, {db, "no such policy"}}}, []string{
			"listener public (0.0.0.0:20000): no such policy",
			"listener db (127.0.0.1:8181): no such policy",
		}},
		{"listeners in trouble", readinessInput{configured: true, listeners: []ListenerStatus{
			{Name: "a", Address: "127.0.0.1:1", Problem: "address already in use"},
			{Name: "b", Address: "127.0.0.1:2"},
			{Name: "c", Address: "127.0.0.1:3", Bound: "127.0.0.1:3", Problem: "accepting: too many open files"},
			{Name: "d", Address: "127.0.0.1:4", Leaving: true},
		}}, []string{
			"listener a (127.0.0.1:1): address already in use",
			"listener b (127.0.0.1:2): not bound yet",
			"listener c (127.0.0.1:3): accepting: too many open files",
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if d := cmp.Diff(tc.want, tc.v.reasons()); d != "" {
				t.Errorf("-want +got:\n%s", d)
			}
		})
	}
}

func TestTheStatusIsJSONBeforeAndAfterTheFirstConfiguration(t *testing.T) {
	t.Parallel()
	agent := fakeagent.New(t, fakeagent.Options{})
	p, err := New(Options{Source: &feed{}, Client: agent.Client("")})
	if err != nil {
		t.Fatal(err)
	}
	if text, err := json.Marshal(p.Status()); err != nil || !json.Valid(text) {
		t.Errorf("%s, %v", text, err)
	}
	port := agenttest.FreePort(t)
	c := calling("web", to("db", port))
	c.Warnings = []string{"protocol http is treated as tcp"}
	e := startEngine(t, agent, c).ready()
	var got struct {
		Ready    bool
		Config   struct{ Mode, Service string }
		Identity struct {
			SpiffeID string `json:"spiffe_id"`
		}
		Listeners []struct{ Name, Role, To string }
	}
	text, err := json.Marshal(e.Status())
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if !got.Ready || got.Config.Mode != string(config.Flags) || got.Identity.SpiffeID != agent.URI("web") ||
		len(got.Listeners) != 1 || got.Listeners[0].To != "db" {
		t.Errorf("%s", text)
	}
	e.apply(c)
	if n := len(e.log.Matching("protocol http is treated as tcp")); n != 1 {
		t.Errorf("the warning was given %d times", n)
	}
	if n := len(e.log.Matching("[INFO]  in force:")); n != 1 {
		t.Errorf("what is in force was told %d times", n)
	}
}
