package systemtest_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/hashicorp/consul/api"

	"connect-proxy/connectproxy/agenttest"
)

// smallestPolicy is what the documentation prints for a service's proxy with
// these upstreams. Without any one of its rules the proxy does not serve.
func smallestPolicy(service string, upstreams ...string) string {
	rules := `
		service "` + service + `" { policy = "write" }
		service "` + service + `-sidecar-proxy" { policy = "read" }`
	for _, u := range upstreams {
		rules += `
		service "` + u + `" { policy = "read" }
		service "` + u + `-sidecar-proxy" { policy = "read" }
		node_prefix "" { policy = "read" }`
	}
	return rules
}

func TestTheSmallestPolicySufficesWhereEverythingIsDenied(t *testing.T) {
	agenttest.SkipShort(t)
	parallel(t)
	a := agenttest.Modern(t, agenttest.Options{ACL: true})
	agent := "http://" + a.HTTPAddr
	port := agenttest.FreePorts(t, 4)
	db := sidecar{name: "db", app: portOf(app(t, "db")), port: port}
	web := sidecar{name: "web", app: 1, port: port + 1, upstreams: []api.Upstream{up("db", port+2)}}
	db.register(a)
	web.register(a)
	tokens := []string{a.PutToken(smallestPolicy("db")), a.PutToken(smallestPolicy("web", "db")), a.Token}
	server := runProxyAt(t, agent, tokens[0], "-sidecar-for", "db").ready()
	client := runProxyAt(t, agent, tokens[1], "-proxy-id", web.proxyID()).ready()
	a.WaitConnect("db", 1)

	// The default is to deny.
	agenttest.Eventually(t, soon, func() error {
		if err := unanswered(at(port + 2)); err != nil {
			return err
		}
		if len(server.Output.Matching("reason=denied")) == 0 {
			return errors.New("nothing has been denied")
		}
		return nil
	})
	a.Intention("web", "db", "allow")
	reaches(t, at(port+2), "db")
	for _, p := range []*proxyProcess{server, client} {
		if log := p.Output.String(); strings.Contains(log, "code: 403") || strings.Contains(log, "Permission denied") {
			t.Errorf("the log has a refusal:\n%s", log)
		}
		p.keepsSecret(tokens...)
	}

	t.Run("a token without rights is named and waited out", func(t *testing.T) {
		token := a.PutToken(`service "web-sidecar-proxy" { policy = "read" }`)
		p := runProxyAt(t, agent, token, "-proxy-id", web.proxyID())
		p.unready(`service:write on "web"`)
		if !p.Running() {
			t.Error("it ended")
		}
		p.keepsSecret(token)
	})
	t.Run("a token that nobody knows", func(t *testing.T) {
		const token = "11111111-2222-3333-4444-555555555555"
		p := runProxyAt(t, agent, token, "-proxy-id", web.proxyID())
		p.unready("no configuration yet")
		if !p.Running() {
			t.Error("it ended")
		}
		p.keepsSecret(token)
	})
}

// keepsSecret fails the test if the log or a page about the proxy's state has one
// of the tokens, or a private key.
func (p *proxyProcess) keepsSecret(tokens ...string) {
	p.t.Helper()
	said := map[string]string{"the log": p.Output.String()}
	c := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: soon}
	for _, page := range []string{"/health", "/ready", "/metrics"} {
		resp, err := c.Get("http://" + p.admin + page)
		if err != nil {
			p.t.Fatal(err)
		}
		text, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || len(text) == 0 {
			p.t.Fatalf("%s: %d bytes, %v", page, len(text), err)
		}
		said[page] = string(text)
	}
	for where, text := range said {
		for _, secret := range append(tokens, "PRIVATE KEY") {
			if strings.Contains(text, secret) {
				p.t.Errorf("%s has the secret %s", where, secret)
			}
		}
	}
}

func TestAManagedTokenSufficesWhereEverythingIsDenied(t *testing.T) {
	agenttest.SkipShort(t)
	parallel(t)
	port := agenttest.FreePort(t)
	db := app(t, "db")
	// The agent's own token is in the proxies' environment: theirs must win.
	a := agenttest.Managed(t, agenttest.Options{ACL: true, Env: []string{"CONSUL_HTTP_TOKEN=11111111-2222-3333-4444-555555555555"}})
	// A managed proxy may do what its service's registration may.
	rules := func(service string) string {
		return `
			service "` + service + `" { policy = "write" }
			service "` + service + `-proxy" { policy = "write" }
			service_prefix "" { policy = "read" }
			node_prefix "" { policy = "read" }`
	}
	a.SetConfig("db", agenttest.ManagedService{
		Name: "db", Port: portOf(db), Command: command(t), Token: a.PutToken(rules("db")),
	}.Text())
	a.SetConfig("web", agenttest.ManagedService{
		Name: "web", Port: 1, Command: command(t), Token: a.PutToken(rules("web")),
		Upstreams: []agenttest.ManagedUpstream{{Name: "db", BindPort: port}},
	}.Text())
	passes(t, a, "db-proxy")
	passes(t, a, "web-proxy")
	a.WaitConnect("db", 1)
	a.Intention("web", "db", "allow")
	reaches(t, at(port), "db")
	a.Intention("web", "db", "deny")
	agenttest.Eventually(t, soon, func() error { return unanswered(at(port)) })
	for _, id := range []string{"db-proxy", "web-proxy"} {
		if log := a.ProxyLog(id); strings.Contains(log, " 403 ") {
			t.Errorf("%s was refused:\n%s", id, log)
		}
	}
	var proxies map[string]any
	a.Do(http.MethodGet, "/v1/agent/services", nil, &proxies)
	if len(proxies) != 4 {
		t.Errorf("the agent has %d services", len(proxies))
	}
}
