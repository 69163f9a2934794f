package devagent_test

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"connect-proxy/connectproxy/agenttest"
	"connect-proxy/connectproxy/devagent"
)

// passes waits until a service's checks pass, or no longer do.
func (a running) passes(t *testing.T, id string, want bool) {
	t.Helper()
	agenttest.Eventually(t, 30*time.Second, func() error {
		if a.Passing(id) != want {
			return fmt.Errorf("passing is not %v", want)
		}
		return nil
	})
}

func TestACheckThatIsNotRenewedEndsAQuestionThatIsHeld(t *testing.T) {
	a := run(t, devagent.Options{})
	err := a.Register(api.AgentServiceRegistration{
		Kind: api.ServiceKindConnectProxy, Name: "p", Port: 1,
		Proxy: &api.AgentServiceConnectProxyConfig{DestinationServiceName: "web"},
		Check: &api.AgentServiceCheck{TTL: "2s", Status: "passing"},
	})
	if err != nil {
		t.Fatal(err)
	}
	first := ask(t, a.url, "GET", "/v1/health/connect/web?passing", "")
	if got := decode[[]api.ServiceEntry](t, first); len(got) != 1 {
		t.Fatalf("%d instances", len(got))
	}
	began := time.Now()
	second := ask(t, a.url, "GET", "/v1/health/connect/web?passing&wait=30s&index="+first.header.Get("X-Consul-Index"), "")
	if got := decode[[]api.ServiceEntry](t, second); len(got) != 0 || time.Since(began) > 10*time.Second {
		t.Errorf("%d instances after %s", len(got), time.Since(began))
	}
}

func TestTheAgentLooksItselfAtPortsAndPages(t *testing.T) {
	a := run(t, devagent.Options{})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	status := make(chan int, 1)
	status <- http.StatusTooManyRequests
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		s := <-status
		status <- s
		w.WriteHeader(s)
	}))
	defer page.Close()
	for id, check := range map[string]*api.AgentServiceCheck{
		"port": {TCP: ln.Addr().String(), Interval: "1s"},
		"page": {HTTP: page.URL, Interval: "1s"},
	} {
		if err := a.Register(api.AgentServiceRegistration{Name: id, Port: 1, Check: check}); err != nil {
			t.Fatal(err)
		}
	}
	a.passes(t, "port", true)
	ln.Close()
	a.passes(t, "port", false)
	if a.Passing("page") {
		t.Error("a page that answers 429 passes")
	}
	<-status
	status <- http.StatusNoContent
	a.passes(t, "page", true)
}

func TestASidecarIsAsIllAsItsService(t *testing.T) {
	a := run(t, devagent.Options{})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	port := ln.Addr().(*net.TCPAddr).Port
	body := fmt.Sprintf(`{"Name":"web","Port":80,"Check":{"CheckID":"c","TTL":"1h","Status":"passing"},
		"Connect":{"SidecarService":{"Port":%d}}}`, port)
	if s := ask(t, a.url, "PUT", "/v1/agent/service/register", body); s.status != 200 {
		t.Fatalf("%d %s", s.status, s.body)
	}
	a.passes(t, "web-sidecar-proxy", true)
	ask(t, a.url, "PUT", "/v1/agent/check/fail/c", "")
	a.passes(t, "web-sidecar-proxy", false)
	ask(t, a.url, "PUT", "/v1/agent/check/pass/c", "")
	a.passes(t, "web-sidecar-proxy", true)
}

func TestAManagedProxyIsToldItsSettingsInEitherVersion(t *testing.T) {
	for _, managed := range []bool{false, true} {
		a := run(t, devagent.Options{Managed: managed})
		if err := a.Register(api.AgentServiceRegistration{Name: "web", Port: 8080}); err != nil {
			t.Fatal(err)
		}
		id, token, err := a.Manage(devagent.ManagedProxy{Service: "web", Port: 20001, Command: []string{"/bin/proxy"},
			Upstreams: []api.Upstream{{DestinationName: "api", LocalBindPort: 9191}}})
		if err != nil || id != "web-proxy" || len(token) != 36 {
			t.Fatalf("%q, %q, %v", id, token, err)
		}
		got := decode[struct {
			TargetServiceName string
			Config            map[string]any
			Upstreams         []api.Upstream
		}](t, ask(t, a.url, "GET", "/v1/agent/connect/proxy/web-proxy", ""))
		if got.TargetServiceName != "web" || got.Config["local_service_address"] != "127.0.0.1:8080" ||
			got.Config["bind_port"] != 20001. || len(got.Upstreams) != 1 {
			t.Errorf("%+v", got)
		}
	}
}
