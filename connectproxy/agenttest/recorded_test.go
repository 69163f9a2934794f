package agenttest_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/consul/api"

	"connect-proxy/connectproxy/agenttest/agentbuild"
	"connect-proxy/connectproxy/agenttest/fakeagent"
)

// asked is what is recorded of a real agent and compared with the fake: of an
// agent with the sidecar of one service "web", two intentions and a query.
var asked = []struct{ name, method, path, body string }{
	{"roots", "GET", "/v1/agent/connect/ca/roots", ""},
	{"leaf", "GET", "/v1/agent/connect/ca/leaf/web", ""},
	{"authorize-allowed", "POST", "/v1/agent/connect/authorize", authorizeBody("web", "api")},
	{"authorize-denied", "POST", "/v1/agent/connect/authorize", authorizeBody("web", "db")},
	{"authorize-default", "POST", "/v1/agent/connect/authorize", authorizeBody("web", "other")},
	{"authorize-no-target", "POST", "/v1/agent/connect/authorize", authorizeBody("", "db")},
	{"authorize-no-identity", "POST", "/v1/agent/connect/authorize", `{"Target":"web","ClientCertURI":"http://web"}`},
	{"intentions-match", "GET", "/v1/connect/intentions/match?by=destination&name=web", ""},
	{"intentions-match-none", "GET", "/v1/connect/intentions/match?by=destination&name=other", ""},
	{"intentions-list", "GET", "/v1/connect/intentions", ""},
	{"health-connect", "GET", "/v1/health/connect/web?passing=1", ""},
	{"health-connect-none", "GET", "/v1/health/connect/other?passing=1", ""},
	{"query", "GET", "/v1/query/near-web/execute?connect=true", ""},
	{"query-unknown", "GET", "/v1/query/other/execute?connect=true", ""},
	{"service", "GET", "/v1/agent/service/web-sidecar-proxy", ""},
	{"service-unknown", "GET", "/v1/agent/service/other", ""},
	{"services", "GET", "/v1/agent/services", ""},
	{"connect-proxy-unknown", "GET", "/v1/agent/connect/proxy/other", ""},
	{"check-update-unknown", "PUT", "/v1/agent/check/update/other", `{"Status":"passing"}`},
	{"deregister-unknown", "PUT", "/v1/agent/service/deregister/other", ""},
}

// webWithSidecar and nearWeb are the service and the query of the recorded agents.
func webWithSidecar() *api.AgentServiceRegistration {
	return &api.AgentServiceRegistration{
		Name: "web", Port: 8080, Tags: []string{"v1"},
		Connect: &api.AgentServiceConnect{SidecarService: &api.AgentServiceRegistration{
			Port: 21000, Check: &api.AgentServiceCheck{TTL: "1h", Status: api.HealthPassing},
		}},
	}
}

func nearWeb() *api.PreparedQueryDefinition {
	return &api.PreparedQueryDefinition{Name: "near-web", Service: api.ServiceQuery{Service: "web", Connect: true}}
}

func authorizeBody(target, source string) string {
	const domain = "11111111-2222-3333-4444-555555555555.consul"
	return fmt.Sprintf(`{"Target":%q,"ClientCertURI":"spiffe://%s/ns/default/dc/dc1/svc/%s","ClientCertSerial":"01:02"}`, target, domain, source)
}

func TestTheFakeAnswersAsTheRecordedAgentsDo(t *testing.T) {
	for _, r := range []agentbuild.Release{agentbuild.Managed, agentbuild.Modern} {
		t.Run(r.Version, func(t *testing.T) {
			a := fakeagent.New(t, fakeagent.Options{Managed: r == agentbuild.Managed})
			a.Intention("api", "web", "allow")
			a.Intention("db", "web", "deny")
			a.Register(webWithSidecar())
			c := a.Client("")
			if _, _, err := c.PreparedQuery().Create(nearWeb(), nil); err != nil {
				t.Fatal(err)
			}
			for _, q := range asked {
				got := fetch(t, a.URL, "", q.method, q.path, q.body)
				if diff := cmp.Diff(readRecorded(t, q.name, r).shape(t), got.shape(t)); diff != "" {
					t.Errorf("%s: recorded (-), faked (+):\n%s", q.name, diff)
				}
			}
		})
	}
}

// recorded is an answer as it is kept in a file.
type recorded struct {
	status string
	header http.Header
	body   []byte
}

func fetch(t *testing.T, url, token, method, path, body string) recorded {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("X-Consul-Token", token)
	}
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"Date", "Content-Length", "Connection"} {
		resp.Header.Del(name)
	}
	return recorded{status: resp.Status, header: resp.Header, body: text}
}

func file(t *testing.T, name string, r agentbuild.Release) string {
	t.Helper()
	root, err := agentbuild.Root()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(root, "testdata", "agent", name+"-"+r.Version+".http")
}

// String is the text of the file: status, headers, an empty line, body.
func (r recorded) String() string {
	var b strings.Builder
	b.WriteString(r.status + "\n")
	_ = r.header.Write(&b)
	text := strings.ReplaceAll(b.String(), "\r\n", "\n") + "\n"
	return text + strings.TrimSpace(string(r.body)) + "\n"
}

func readRecorded(t *testing.T, name string, release agentbuild.Release) recorded {
	t.Helper()
	text, err := os.ReadFile(file(t, name, release))
	if err != nil {
		t.Fatal(err)
	}
	head, body, _ := strings.Cut(string(text), "\n\n")
	lines := strings.Split(head, "\n")
	r := recorded{status: lines[0], header: http.Header{}, body: []byte(body)}
	for _, line := range lines[1:] {
		name, value, _ := strings.Cut(line, ": ")
		r.header.Add(name, value)
	}
	return r
}

// shape is what must be the same: the status, which headers there are and the
// values of those that say something, and the path and type of each value in
// the body. An answer in plain text is compared as it is.
func (r recorded) shape(t *testing.T) []string {
	t.Helper()
	lines := []string{"status " + r.status}
	for name := range r.header {
		switch name {
		case "Age": // only with a hit of the cache, and so now and then
		case "Content-Type", "X-Consul-Default-Acl-Policy":
			lines = append(lines, "header "+name+": "+r.header.Get(name))
		default:
			lines = append(lines, "header "+name)
		}
	}
	if !strings.HasPrefix(r.header.Get("Content-Type"), "application/json") {
		text := string(bytes.TrimSpace(r.body))
		return append(sorted(lines), "text "+text)
	}
	var body any
	if err := json.Unmarshal(r.body, &body); err != nil {
		t.Fatalf("%s: %v", r.body, err)
	}
	paths := map[string]bool{}
	outline(body, "body", paths)
	for path := range paths {
		lines = append(lines, path)
	}
	return sorted(lines)
}

func sorted(lines []string) []string {
	slices.Sort(lines)
	return lines
}

// outline adds the path and type of every value. Elements of an array share
// one path. An agent says null here and an empty array there for the same.
func outline(v any, path string, into map[string]bool) {
	switch v := v.(type) {
	case map[string]any:
		for key, value := range v {
			// Which there are depends on the machine's addresses and on how
			// far the agent has got with telling its server of the service.
			if key != "TaggedAddresses" {
				outline(value, path+"."+key, into)
			}
		}
		if len(v) > 0 {
			return
		}
	case []any:
		for _, value := range v {
			outline(value, path+"[]", into)
		}
		if len(v) > 0 {
			return
		}
	case nil:
	default:
		into[fmt.Sprintf("%s %T", path, v)] = true
		return
	}
	into[path+" empty"] = true
}
