package config

import (
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/consul/api"

	"connect-proxy/connectproxy/agenttest/traffic"
)

const (
	webProxy    = "/v1/agent/service/web-1-sidecar-proxy"
	managedWeb1 = "/v1/agent/connect/proxy/web-1-proxy"
	serviceWeb1 = "/v1/agent/service/web-1-proxy"
	services    = "/v1/agent/services"
)

// changed is a recording after a change, under another hash.
func changed(t *testing.T, file, before, after string) reply {
	t.Helper()
	r := recording(t, file)
	r.hash += after
	if !strings.Contains(r.body, before) {
		t.Fatalf("%s does not contain %s", file, before)
	}
	r.body = strings.ReplaceAll(r.body, before, after)
	return r
}

func TestAChangeOfARegistrationIsSeenWithinTwoSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const file = "service-web-1-sidecar-proxy.json"
		f := newFakeAgent(map[string]reply{webProxy: recording(t, file)})
		a := f.source(t, AgentOptions{ProxyID: "web-1-sidecar-proxy"})
		cfg, err := next(t, a, time.Second)
		if err != nil || cfg.Public.Local.Port != 8080 {
			t.Fatalf("first: %+v, %v", cfg, err)
		}
		quiet(t, a, 10*time.Minute)
		if n := len(f.requests()); n > 340 {
			t.Errorf("%d requests in ten minutes without a change", n)
		}
		if age := time.Since(a.Confirmed()); age > 3*time.Second {
			t.Errorf("the agent last confirmed it %s ago", age)
		}

		go func() {
			<-time.After(10 * time.Minute)
			f.set(webProxy, changed(t, file, "8080", "8088"))
		}()
		start := time.Now()
		cfg, err = next(t, a, time.Hour)
		if err != nil || cfg.Public.Local.Port != 8088 {
			t.Fatalf("after a change: %+v, %v", cfg, err)
		}
		if took := time.Since(start); took > 10*time.Minute+2200*time.Millisecond {
			t.Errorf("a change was seen %s late", took-10*time.Minute)
		}

		// Nobody watches now, and a change must not be missed for that.
		f.set(webProxy, changed(t, file, "8080", "8099"))
		if cfg, err = next(t, a, time.Second); err != nil || cfg.Public.Local.Port != 8099 {
			t.Fatalf("after a change between two calls: %+v, %v", cfg, err)
		}
		// Another hash for what means the same is no change.
		f.set(webProxy, changed(t, file, `"Tags": []`, `"Tags": ["new"]`))
		f.set(webProxy, changed(t, file, "8080", "8099"))
		quiet(t, a, time.Minute)
	})
}

func TestAManagedProxySeesWhatItsHashDoesNotCover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const file = "connect-proxy-web-1.json"
		f := newFakeAgent(map[string]reply{managedWeb1: recording(t, file)})
		a := f.source(t, AgentOptions{ProxyID: "web-1-proxy", Managed: true})
		cfg, err := next(t, a, time.Second)
		if err != nil || cfg.Mode != Managed || cfg.ProxyID != "web-1-proxy" {
			t.Fatalf("first: %+v, %v", cfg, err)
		}
		same := changed(t, file, "127.0.0.1:8080", "127.0.0.1:8088")
		same.hash = recording(t, file).hash
		f.set(managedWeb1, same)
		if cfg, err = next(t, a, 3*time.Second); err != nil || cfg.Public.Local.Port != 8088 {
			t.Fatalf("after a change under the same hash: %+v, %v", cfg, err)
		}
	})
}

func TestEitherOfTheManagedEndpointsWillDo(t *testing.T) {
	for name, replies := range map[string]map[string]reply{
		"only the managed one, as in Consul 1.2":    {managedWeb1: recording(t, "connect-proxy-web-1-consul-1.2.json")},
		"only the services', as in later ones":      {serviceWeb1: recording(t, "service-managed-web-1.json")},
		"the managed one unknown during a reload":   {managedWeb1: {status: 404, body: "unknown proxy service ID: web-1-proxy"}, serviceWeb1: recording(t, "service-managed-web-1.json")},
		"the services' one refused, the other good": {managedWeb1: recording(t, "connect-proxy-web-1.json"), serviceWeb1: {status: 403}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := newFakeAgent(replies).source(t, AgentOptions{ProxyID: "web-1-proxy", Managed: true})
				cfg, err := next(t, a, time.Second)
				if err != nil || cfg.Mode != Managed || cfg.Service != "web" || len(cfg.Upstreams) != 2 || cfg.DrainTimeout != DefaultManagedDrainTimeout {
					t.Fatalf("got %+v, %v", cfg, err)
				}
			})
		})
	}
}

func TestTroubleIsWaitedOutAndSaid(t *testing.T) {
	for _, c := range []struct {
		name    string
		managed bool
		reply   reply
		want    []string // all of it in one line
	}{
		{"unknown", false, reply{status: 404, body: "unknown service ID: web-1-sidecar-proxy"},
			[]string{`proxy "web-1-sidecar-proxy" is not registered at agent.test`, "/v1/agent/services"}},
		{"no rights, said by a later agent", false, reply{status: 403, body: `Permission denied: token with AccessorID 'aafbfc4d-efd2-34eb-33b8-131bba94d931' lacks permission 'service:read' on "web-sidecar-proxy"`},
			[]string{"agent.test", `the token lacks service:read on "web-sidecar-proxy"`}},
		{"no token, said by a later agent", false, reply{status: 403, body: `Permission denied: anonymous token lacks permission 'service:read' on "web-sidecar-proxy". The anonymous token is used implicitly when a request does not specify a token.`},
			[]string{`the token lacks service:read on "web-sidecar-proxy"`}},
		{"no rights, said by an early agent", true, reply{status: 403, body: "Permission denied"},
			[]string{"the token lacks service:write on the service behind the proxy", "CONNECT_PROXY_TOKEN"}},
		{"no rights, and no reason", false, reply{status: 403, body: "Permission denied"},
			[]string{"the token lacks service:read on the proxy's service name"}},
		{"an unknown token", false, reply{status: 403, body: "ACL not found"},
			[]string{"does not know the token", "-token-file"}},
		{"too many requests", false, reply{status: 429, body: "Your IP is issuing too many concurrent connections"},
			[]string{"429"}},
		{"a server in trouble", false, reply{status: 500, body: "No cluster leader\nfor b1a05eed-e700-4000-8000-000000000001"},
			[]string{"status 500: No cluster leader for …"}},
		{"a server without words", false, reply{status: 502}, []string{"status 502: no reason given"}},
		{"a web server", false, reply{body: "<html>welcome</html>"}, []string{"is not understood", "-http-addr"}},
		{"half an answer", false, reply{body: `{"Kind": "connect-pr`}, []string{"is not understood"}},
		{"an empty answer", false, reply{body: `{}`}, []string{"it is about nothing"}},
		{"an answer of another shape", false, reply{body: `{"ID": "web-1-sidecar-proxy", "Proxy": []}`}, []string{"is not understood"}},
		{"a managed answer of another shape", true, reply{body: `{"ProxyServiceID": 5}`}, []string{"is not understood"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				path, good := webProxy, recording(t, "service-web-1-sidecar-proxy.json")
				o := AgentOptions{ProxyID: "web-1-sidecar-proxy"}
				if c.managed {
					path, good = "/v1/agent/connect/proxy/web-1-sidecar-proxy", recording(t, "connect-proxy-web-1.json")
					o.Managed = true
				}
				f := newFakeAgent(map[string]reply{path: c.reply})
				a := f.source(t, o)
				quiet(t, a, 10*time.Minute)
				problem := a.Problem()
				for _, want := range c.want {
					if !strings.Contains(problem, want) {
						t.Errorf("problem %q does not say %q", problem, want)
					}
				}
				if strings.ContainsAny(problem, "\n\r") || strings.Contains(problem, "b1a05eed") {
					t.Errorf("problem %q", problem)
				}
				if n := len(f.requests()); n > 300 {
					t.Errorf("%d requests in ten minutes", n)
				}
				f.set(path, good)
				if cfg, err := next(t, a, 15*time.Second); err != nil || cfg.Service != "web" || a.Problem() != "" {
					t.Errorf("after it passed: %+v, %v, problem %q", cfg, err, a.Problem())
				}
			})
		})
	}
}

// An agent of Consul 1.5 that reloads its configuration has the proxies' services
// again before it has the proxies, and knows nothing of upstreams by then.
func TestAReloadOfTheAgentDoesNotTakeTheUpstreamsOfAManagedProxy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		good := recording(t, "connect-proxy-web-1.json")
		service := reply{body: `{"Kind": "connect-proxy", "ID": "web-1-proxy", "Service": "web-proxy", "Port": 20000,
			"Proxy": {"DestinationServiceName": "web", "LocalServicePort": 8080}, "ContentHash": "1"}`, hash: "1"}
		f := newFakeAgent(map[string]reply{managedWeb1: good})
		a := f.source(t, AgentOptions{ProxyID: "web-1-proxy", Managed: true})
		cfg, err := next(t, a, time.Second)
		if err != nil || len(cfg.Upstreams) == 0 {
			t.Fatalf("first: %+v, %v", cfg, err)
		}
		f.set(serviceWeb1, service)
		for _, unknown := range []string{"unknown proxy service ID: web-1-proxy", "unknown target service ID: web-1"} {
			f.set(managedWeb1, reply{status: http.StatusNotFound, body: unknown})
			quiet(t, a, time.Minute)
			if p := a.Problem(); !strings.Contains(p, "not registered") {
				t.Errorf("%s: problem %q", unknown, p)
			}
			f.set(managedWeb1, good)
			quiet(t, a, time.Minute)
			if p := a.Problem(); p != "" {
				t.Errorf("it is back, and the problem is %q", p)
			}
		}
		// An agent of a later Consul in its place has no such endpoint.
		f.set(managedWeb1, reply{status: http.StatusNotFound, body: "Invalid URL path: not a recognized HTTP API endpoint"})
		if cfg, err := next(t, a, time.Minute); err != nil || len(cfg.Upstreams) != 0 {
			t.Errorf("of a later agent: %+v, %v", cfg, err)
		}
	})
}

func TestAnAgentThatIsDownOrSilentIsNamed(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := ln.Addr().String()
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	client, err := api.NewClient(&api.Config{Address: address, HttpClient: &http.Client{Transport: transport}})
	if err != nil {
		t.Fatal(err)
	}
	a := NewAgent(AgentOptions{Client: client, Address: address, ProxyID: "web-1-sidecar-proxy"})
	quiet(t, a, 300*time.Millisecond)
	if p := a.Problem(); !strings.HasPrefix(p, "asking "+address+` about proxy "web-1-sidecar-proxy": dial tcp `+address) || !strings.Contains(p, "-http-addr") {
		t.Errorf("refused: %q", p)
	}

	synctest.Test(t, func(t *testing.T) {
		silent := func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
		f := traffic.Direct{Handler: http.HandlerFunc(silent)}
		client, err := api.NewClient(&api.Config{Address: "agent.test", HttpClient: &http.Client{Transport: f}})
		if err != nil {
			t.Fatal(err)
		}
		a := NewAgent(AgentOptions{Client: client, ProxyID: "web-1-sidecar-proxy"})
		quiet(t, a, time.Minute)
		if p := a.Problem(); !strings.Contains(p, "no answer in time") || !strings.Contains(p, "the local agent") {
			t.Errorf("silent: %q", p)
		}
	})
}

func TestAnInvalidRegistrationIsReportedOnceForEachContent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const file = "service-web-1-sidecar-proxy.json"
		good, bad := recording(t, file), changed(t, file, "9191", "91910")
		f := newFakeAgent(map[string]reply{webProxy: bad})
		a := f.source(t, AgentOptions{ProxyID: "web-1-sidecar-proxy"})
		refused(t, a, `(proxy "web-1-sidecar-proxy" at agent.test): proxy.upstreams[0].local_bind_port: 91910`)
		quiet(t, a, time.Hour)
		if !strings.Contains(a.Problem(), "91910") {
			t.Errorf("problem: %q", a.Problem())
		}
		f.set(webProxy, good)
		if _, err := next(t, a, time.Second); err != nil || a.Problem() != "" {
			t.Fatalf("good again: %v, problem %q", err, a.Problem())
		}
		f.set(webProxy, changed(t, file, "9191", "91911"))
		refused(t, a, "91911")
		f.set(webProxy, good)
		if cfg, err := next(t, a, time.Second); cfg == nil || err != nil || a.Problem() != "" {
			t.Fatalf("the one in force is valid again, which is not said: %+v, %v, problem %q", cfg, err, a.Problem())
		}
		quiet(t, a, time.Hour)
		f.set(webProxy, changed(t, file, "9191", "91911"))
		refused(t, a, "91911")
	})
}

func TestAnOverrideWinsAndIsValidated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeAgent(map[string]reply{webProxy: recording(t, "service-web-1-sidecar-proxy.json")})
		listen := Address{Host: "127.0.0.9", Port: 21099}
		a := f.source(t, AgentOptions{ProxyID: "web-1-sidecar-proxy", Override: func(c *Config) { c.Public.Bind = listen }})
		if cfg, err := next(t, a, time.Second); err != nil || cfg.Public.Bind != listen {
			t.Errorf("got %+v, %v", cfg, err)
		}
		a = f.source(t, AgentOptions{ProxyID: "web-1-sidecar-proxy", Override: func(c *Config) { c.DrainTimeout = -time.Second }})
		refused(t, a, "proxy.config.drain_timeout: -1s: negative")
	})
}

func TestExactlyOneWayToNameAProxyIsAsked(t *testing.T) {
	for _, o := range []AgentOptions{{}, {ProxyID: "a", SidecarFor: "b"}} {
		refused(t, NewAgent(o), "exactly one of")
	}
}

func TestARealServerIsReadToo(t *testing.T) {
	// The same over a socket, headers and chunks included.
	f := newFakeAgent(map[string]reply{webProxy: recording(t, "service-web-1-sidecar-proxy.json")})
	server := httptest.NewServer(f)
	defer server.Close()
	client, err := api.NewClient(&api.Config{Address: server.URL, HttpClient: server.Client()})
	if err != nil {
		t.Fatal(err)
	}
	a := NewAgent(AgentOptions{Client: client, Address: server.URL, ProxyID: "web-1-sidecar-proxy"})
	if cfg, err := next(t, a, 5*time.Second); err != nil || cfg.Service != "web" {
		t.Fatalf("got %+v, %v", cfg, err)
	}
	go f.set(webProxy, changed(t, "service-web-1-sidecar-proxy.json", "8080", "8088"))
	if cfg, err := next(t, a, 5*time.Second); err != nil || cfg.Public.Local.Port != 8088 {
		t.Fatalf("got %+v, %v", cfg, err)
	}
	if asked := f.requests(); !slices.Contains(asked, webProxy+"#") {
		t.Errorf("asked %q", asked)
	}
}
