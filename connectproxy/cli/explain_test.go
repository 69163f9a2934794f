package cli

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"connect-proxy/connectproxy/agenttest"
	"connect-proxy/connectproxy/agenttest/fakeagent"
	"connect-proxy/connectproxy/agenttest/traffic"
	"connect-proxy/listener/listenertest"
	"connect-proxy/listener/secure"
)

// explained runs the command for web and api as a program would that reads JSON, and
// gives its lines with their advice. No line that is not good may be without one.
func explained(t *testing.T, want int, args ...string) string {
	t.Helper()
	code, out, stderr := tool(t, append([]string{"explain", "-to", "api", "-from", "web", "-o", "json"}, args...)...)
	var report struct {
		Reachable bool      `json:"reachable"`
		Findings  []finding `json:"findings"`
	}
	if err := json.Unmarshal([]byte(out), &report); err != nil {
		t.Fatalf("%v: %s%s", err, out, stderr)
	}
	var b strings.Builder
	for _, f := range report.Findings {
		fmt.Fprintf(&b, "%s %s: %s -> %s\n", f.Area, f.Grade, f.Text, f.Advice)
		if f.Grade != good && f.Advice == "" {
			t.Errorf("nothing says what to do: %s", f.Text)
		}
	}
	if code != want || report.Reachable != (want == exitDrained) {
		t.Errorf("exit code %d, reachable %v, want %d\n%s", code, report.Reachable, want, b.String())
	}
	return b.String()
}

func says(t *testing.T, out string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(out, part) {
			t.Errorf("no %q in\n%s", part, out)
		}
	}
}

func TestExplainNamesTheStepThatFailsBeforeAnyDialAndWhatToType(t *testing.T) {
	t.Parallel()
	denied := traffic.Fault{Status: 403, Body: "Permission denied"}
	instance := func(a *fakeagent.Agent) { a.Instance("api", 1) }
	for _, tc := range []struct {
		name    string
		prepare func(*fakeagent.Agent)
		args    []string
		says    []string
	}{
		{"the agent is away", instance, []string{"-http-addr", "127.0.0.1:1"},
			[]string{"agent failed: the agent at", "cannot be asked", "curl 127.0.0.1:1/v1/status/leader"}},
		{"the token may not have the leaf", func(a *fakeagent.Agent) { a.Fail(traffic.Leaf, denied) }, nil,
			[]string{"certificates failed: no leaf certificate for web", "consul acl token create -service-identity=web"}},
		{"the leaf cannot be had", func(a *fakeagent.Agent) { a.Fail(traffic.Leaf, traffic.Fault{Status: 500, Body: "no signer"}) }, nil,
			[]string{"certificates failed: no leaf certificate for web", "no signer", "/v1/agent/connect/ca/leaf/web"}},
		{"the roots cannot be had", func(a *fakeagent.Agent) {
			a.Fail(traffic.Roots, traffic.Fault{Status: 500, Body: "Connect must be enabled"})
		}, nil, []string{"certificates failed: no roots", "Connect must be enabled", "/v1/agent/connect/ca/roots"}},
		{"the leaf has expired", func(a *fakeagent.Agent) {
			a.PinLeaf("web", time.Now().Add(-48*time.Hour), time.Now().Add(-24*time.Hour))
		}, nil, []string{"certificates failed: the leaf certificate of web cannot be used", "has expired at", "set the clock that is wrong"}},
		{"nobody has that name", func(*fakeagent.Agent) {}, nil,
			[]string{"destination failed: no service of the name api is registered", "consul catalog services", "-service api"}},
		{"it has no proxy", func(a *fakeagent.Agent) {
			a.Register(&api.AgentServiceRegistration{ID: "api1", Name: "api", Port: 8080})
		}, nil, []string{"instances failed: api is registered 1 times, without a Connect proxy", "connect-proxy -sidecar-for api1"}},
		{"none is healthy", func(a *fakeagent.Agent) {
			a.Register(&api.AgentServiceRegistration{
				Kind: api.ServiceKindConnectProxy, ID: "p", Name: "p", Port: 2, Proxy: &api.AgentServiceConnectProxyConfig{DestinationServiceName: "api"},
				Check: &api.AgentServiceCheck{TTL: "1h"},
			})
		}, nil, []string{"instances failed: 1 are registered and none is healthy", "/v1/health/connect/api"}},
		{"the instances cannot be asked for", func(a *fakeagent.Agent) {
			instance(a)
			a.Fail(traffic.HealthConnect, traffic.Fault{Status: 500, Body: "rpc error"})
		}, nil, []string{"instances failed: they cannot be asked for", "rpc error", "service:read on api and node:read"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			a := fakeagent.New(t, fakeagent.Options{})
			tc.prepare(a)
			says(t, explained(t, exitFailed, append([]string{"-http-addr", a.Addr}, tc.args...)...), tc.says...)
		})
	}
}

func TestExplainSaysThatATokenIsUnknown(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/status/leader" {
			fmt.Fprint(w, `"127.0.0.1:8300"`)
			return
		}
		http.Error(w, "ACL not found", http.StatusForbidden)
	}))
	t.Cleanup(s.Close)
	out := explained(t, exitFailed, "-http-addr", s.URL, "-token", "11111111-2222-3333-4444-555555555555")
	says(t, out, "token failed: the token is not known", "consul acl token list")
}

// farSide is the proxy of an instance of api: what it does with a client whose
// handshake is done.
type farSide func(*secure.Conn)

// listen runs it under cfg and gives its port.
func (f farSide) listen(t *testing.T, cfg *tls.Config) int {
	t.Helper()
	s := listenertest.NewServer(t, func(raw *net.TCPConn) {
		_ = raw.SetDeadline(time.Now().Add(soon))
		if c, err := (&secure.Config{TLS: cfg, OwnRecords: true}).Server(t.Context(), raw); err == nil {
			f(c)
		}
	})
	return portOf(t, s)
}

func portOf(t *testing.T, s *listenertest.Server) int {
	t.Helper()
	a, err := net.ResolveTCPAddr("tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	return a.Port
}

var (
	// orderly is one whose application ends when its client does.
	orderly farSide = func(c *secure.Conn) { _, _ = io.Copy(io.Discard, c); c.Close() }
	// refusing is one that says why.
	refusing = func(why secure.Refusal) farSide { return func(c *secure.Conn) { _ = c.Refuse(why) } }
)

func TestExplainBelievesAnInstanceOnlyWhenItKeepsTheConnection(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		far  farSide
		want int
		says []string
	}{
		{"the application waits", orderly, exitDrained, []string{"/api-sidecar-proxy at", "proved to be api -> \n"}},
		{"the application speaks first", func(c *secure.Conn) { _, _ = c.Write([]byte("220 hello\r\n")); orderly(c) }, exitDrained, []string{"instances ok:"}},
		{"the application does not mind our end", func(c *secure.Conn) {
			_, _ = io.Copy(io.Discard, c)
			_, _ = c.NetConn().Read(make([]byte, 1)) // until the socket is closed
		}, exitDrained, []string{"instances ok:"}},
		{"its proxy or its application ends it", func(c *secure.Conn) { c.Close() }, exitDrained,
			[]string{"instances warning:", "ended the connection at once", "the log of its proxy says why"}},
		{"its proxy cuts it", func(c *secure.Conn) { _ = c.Abort() }, exitFailed,
			[]string{"cut the connection at once", "the log of its proxy says why", "none of 1 can be reached"}},
		{"the application is down", refusing(secure.RefusedService), exitFailed,
			[]string{"the instance cannot serve: its application is down", "on the machine of 127.0.0.1:", "dial_failed is its application, authorization_unknown its agent", "none of 1 can be reached"}},
		{"the agent there denies what the one here allows", refusing(secure.RefusedAccess), exitFailed,
			[]string{"intention ok", "refuses web", "its agent decides otherwise than the one here", "none of 1 can be reached"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			a := fakeagent.New(t, fakeagent.Options{})
			a.Instance("api", tc.far.listen(t, a.CA().ServerTLS(a.CA().Leaf(t, "api"))))
			begin := time.Now()
			says(t, explained(t, tc.want, "-http-addr", a.Addr), tc.says...)
			if took := time.Since(begin); took > 3*explainEnd {
				t.Errorf("it took %s", took)
			}
		})
	}
}

func TestExplainBlamesWhoseHandshakeItIs(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		listen func(*testing.T, *fakeagent.Agent) int
		says   []string
	}{
		{"nobody listens", func(t *testing.T, _ *fakeagent.Agent) int { return agenttest.FreePort(t) },
			[]string{"no TCP connection", "is its proxy up"}},
		{"nobody answers", func(t *testing.T, _ *fakeagent.Agent) int {
			return portOf(t, listenertest.NewServer(t, func(c *net.TCPConn) { _, _ = io.Copy(io.Discard, c) }))
		}, []string{"does not answer the TLS handshake", "connect-proxy check"}},
		{"no proxy listens", func(t *testing.T, _ *fakeagent.Agent) int {
			return portOf(t, listenertest.NewServer(t, func(c *net.TCPConn) { _, _ = c.Write([]byte("SSH-2.0-x\r\n")); _, _ = io.Copy(io.Discard, c) }))
		}, []string{"first record does not look like a TLS handshake", "is it a Connect proxy that listens there?"}},
		{"another service", func(t *testing.T, a *fakeagent.Agent) int {
			return orderly.listen(t, a.CA().ServerTLS(a.CA().Leaf(t, "db")))
		}, []string{"is something else than the catalog says", "consul services deregister"}},
		{"its certificate has expired", func(t *testing.T, a *fakeagent.Agent) int {
			then := time.Now().Add(-24 * time.Hour)
			return orderly.listen(t, a.CA().ServerTLS(a.CA().LeafWith(t, "api", listenertest.LeafOptions{NotBefore: then.Add(-time.Hour), NotAfter: then})))
		}, []string{"has expired at", "compare the clocks of both machines"}},
		{"its clock is ahead", func(t *testing.T, a *fakeagent.Agent) int {
			cfg := a.CA().ServerTLS(a.CA().Leaf(t, "api"))
			cfg.Time = func() time.Time { return time.Now().Add(1000 * time.Hour) }
			return orderly.listen(t, cfg)
		}, []string{"takes our certificate for expired", "compare the clocks of both machines"}},
		{"it does not trust us", func(t *testing.T, a *fakeagent.Agent) int {
			cfg := a.CA().ServerTLS(a.CA().Leaf(t, "api"))
			cfg.VerifyConnection = func(tls.ConnectionState) error { return errors.New("not of this mesh") }
			return orderly.listen(t, cfg)
		}, []string{"does not take the certificate of web", "of the same cluster"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			a := fakeagent.New(t, fakeagent.Options{})
			a.Instance("api", tc.listen(t, a))
			says(t, explained(t, exitFailed, "-http-addr", a.Addr), append(slices.Clone(tc.says), "none of 1 can be reached")...)
		})
	}
}

func TestExplainSaysThatADeniedCallerIsDeniedAndHowToAllowIt(t *testing.T) {
	t.Parallel()
	a := fakeagent.New(t, fakeagent.Options{})
	a.Intention("web", "api", "deny")
	a.Instance("api", refusing(secure.RefusedAccess).listen(t, a.CA().ServerTLS(a.CA().Leaf(t, "api"))))
	out := explained(t, exitFailed, "-http-addr", a.Addr)
	says(t, out, "intention failed: web may not call api", "refuses web")
	if n := strings.Count(out, "consul intention create -allow web api"); n != 2 {
		t.Errorf("%d lines say how to allow it:\n%s", n, out)
	}
}

func TestExplainSaysWhatItCannotBeSureOf(t *testing.T) {
	t.Parallel()
	a := fakeagent.New(t, fakeagent.Options{})
	a.Instance("api", farSide(func(c *secure.Conn) { c.Close() }).listen(t, a.CA().ServerTLS(a.CA().Leaf(t, "api"))))
	expect(t, exitDrained, []string{"explain", "-to", "api", "-from", "web", "-http-addr", a.Addr}, "web can reach the proxy of api: see the lines with !.")
}

// What counts is the intention on the service that is reached, not on the name.
func TestExplainAsksForTheIntentionOfWhereAChainLeads(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		denied string
		far    farSide
		want   int
		says   []string
	}{
		{"api", orderly, exitDrained, []string{"intention ok: web may call db"}},
		{"db", refusing(secure.RefusedAccess), exitFailed, []string{"intention failed: web may not call db", "consul intention create -allow web db"}},
	} {
		a := fakeagent.New(t, fakeagent.Options{})
		a.Intention("web", tc.denied, "deny")
		a.Instance("db", tc.far.listen(t, a.CA().ServerTLS(a.CA().Leaf(t, "db"))))
		resolver := &api.ServiceResolverConfigEntry{Kind: api.ServiceResolver, Name: "api", Redirect: &api.ServiceResolverRedirect{Service: "db"}}
		if _, _, err := a.Client("").ConfigEntries().Set(resolver, nil); err != nil {
			t.Fatal(err)
		}
		out := explained(t, tc.want, "-http-addr", a.Addr)
		says(t, out, tc.says...)
		if strings.Contains(out, "call api") || strings.Contains(out, "-allow web api") || strings.Contains(out, "decides otherwise") {
			t.Errorf("%s is denied:\n%s", tc.denied, out)
		}
	}
}
