package devagent_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"connect-proxy/connectproxy/agenttest"
	"connect-proxy/connectproxy/devagent"
)

// held is an endpoint that a client may be held at, and a change that lets go.
type held struct {
	name, path string
	change     asked
	byHash     bool
	has        string // what the answer holds once the server knows it
	only       only
}

var heldAt = []held{
	{name: "instances", path: "/v1/health/connect/api", has: `"api-1"`,
		change: asked{method: "PUT", path: "/v1/agent/check/fail/api-1-readiness"}},
	{name: "a registration", path: "/v1/agent/service/api-1", byHash: true,
		change: asked{method: "PUT", path: register, body: `{"Kind":"connect-proxy","ID":"api-1","Name":"api-proxy","Port":8443,
			"Proxy":{"DestinationServiceName":"api","LocalServicePort":8082},"Check":{"CheckID":"api-1-readiness","TTL":"1h"}}`}},
	{name: "intentions of a service", path: "/v1/connect/intentions/match?by=destination&name=web", only: modern,
		change: asked{method: "PUT", path: exact("api", "web"), body: `{"Action":"deny"}`}},
	{name: "all intentions", path: "/v1/connect/intentions", only: modern,
		change: asked{method: "PUT", path: exact("db", "web"), body: `{"Action":"deny"}`}},
	{name: "all intentions, the old way", path: "/v1/connect/intentions", only: managed,
		change: asked{method: "POST", path: "/v1/connect/intentions", body: old("db", "web", "deny")}},
	{name: "a chain", path: "/v1/discovery-chain/api", only: modern,
		change: asked{method: "PUT", path: "/v1/config", body: `{"Kind":"service-resolver","Name":"api","ConnectTimeout":"3s"}`}},
}

func TestTheInProcessAgentHoldsQuestionsAsRealAgentsDo(t *testing.T) {
	agenttest.SkipShort(t)
	for version, real := range map[only]func(testing.TB, agenttest.Options) *agenttest.Agent{
		modern: agenttest.Modern, managed: agenttest.Managed,
	} {
		theirs := real(t, agenttest.Options{})
		ours := run(t, devagent.Options{Managed: version == managed})
		for name, base := range map[string]string{"Consul " + theirs.Version(): "http://" + theirs.HTTPAddr, "in process as " + theirs.Version(): ours.url} {
			t.Run(name, func(t *testing.T) {
				ask(t, base, "PUT", register, apiProxy)
				for _, h := range heldAt {
					if h.only == 0 || h.only == version {
						t.Run(h.name, func(t *testing.T) { h.hold(t, base) })
					}
				}
			})
		}
	}
}

// hold asks until the wait is over, without a change, and then with one.
func (h held) hold(t *testing.T, base string) {
	const wait = 300 * time.Millisecond
	// A server may be hearing of what came before, be it between two questions: the
	// same answer must come back for a whole wait, and none for another.
	var second said
	var answers chan said
	agenttest.Eventually(t, settled, func() error {
		first := ask(t, base, "GET", h.path, "")
		began := time.Now()
		second = ask(t, base, "GET", h.after(t, first, wait), "")
		if h.mark(second) != h.mark(first) || time.Since(began) < wait || !strings.Contains(string(first.body), h.has) {
			return errEarly
		}
		answers = h.ask(t, base, second)
		select {
		case <-answers:
			return errEarly
		case <-time.After(wait):
			return nil
		}
	})
	began := time.Now()
	if s := ask(t, base, h.change.method, h.change.path, h.change.body); s.status != http.StatusOK {
		t.Fatalf("the change was refused: %d %s", s.status, s.body)
	}
	s := <-answers
	if h.mark(s) == h.mark(second) || time.Since(began) > 10*time.Second {
		t.Fatalf("%s after %s: %q follows on %q", h.path, time.Since(began), h.mark(s), h.mark(second))
	}
}

// ask asks for what follows on an answer.
func (h held) ask(t *testing.T, base string, last said) chan said {
	t.Helper()
	answers := make(chan said, 1)
	path := h.after(t, last, 20*time.Second)
	go func() {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		s, err := tryAsk(ctx, base, "GET", path, "")
		if err != nil {
			t.Error(err)
		}
		answers <- s
	}()
	return answers
}

const errEarly = early("answered before its wait was over, or before the server knows of what was registered")

type early string

func (e early) Error() string { return string(e) }

// mark is what an answer is told from another by.
func (h held) mark(s said) string {
	if h.byHash {
		var body struct{ ContentHash string }
		_ = json.Unmarshal(s.body, &body)
		if body.ContentHash != s.header.Get("X-Consul-Contenthash") {
			return "the hash of the header is not that of the body"
		}
		return body.ContentHash
	}
	return s.header.Get("X-Consul-Index")
}

func (h held) after(t *testing.T, s said, wait time.Duration) string {
	t.Helper()
	u, err := url.Parse(h.path)
	if err != nil || h.mark(s) == "" {
		t.Fatalf("%v, marked %q: %s", err, h.mark(s), s.body)
	}
	q := u.Query()
	key := "index"
	if h.byHash {
		key = "hash"
	}
	q.Set(key, h.mark(s))
	q.Set("wait", wait.String())
	u.RawQuery = q.Encode()
	return u.String()
}
