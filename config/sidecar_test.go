package config

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestASidecarIsFoundByItsService(t *testing.T) {
	twins := recording(t, "services-twins.json")
	other := strings.NewReplacer(`"connect-proxy"`, `"mesh-gateway"`)
	onlyB := reply{body: strings.Replace(twins.body, `"connect-proxy",
        "ID": "twin-a"`, `"mesh-gateway",
        "ID": "twin-a"`, 1)}
	if onlyB.body == twins.body {
		t.Fatal("the recording has another shape")
	}
	const twinB = "/v1/agent/service/twin-b"
	for _, c := range []struct{ name, service, want string }{
		{"by its ID", "web-1", "web-1-sidecar-proxy"},
		{"by its ID in another case", "WEB-1", "web-1-sidecar-proxy"},
		{"the only one of two that is a proxy", "Twin-1", "twin-b"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFakeAgent(map[string]reply{services: onlyB, webProxy: recording(t, "service-web-1-sidecar-proxy.json"), twinB: recording(t, "service-twin-b.json")})
				a := f.source(t, AgentOptions{SidecarFor: c.service})
				if cfg, err := next(t, a, time.Second); err != nil || cfg.ProxyID != c.want || cfg.Mode != Registered {
					t.Errorf("got %+v, %v", cfg, err)
				}
			})
		})
	}
	t.Run("none yet", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := newFakeAgent(map[string]reply{services: {body: other.Replace(twins.body)}, webProxy: recording(t, "service-web-1-sidecar-proxy.json")})
			a := f.source(t, AgentOptions{SidecarFor: "web-1"})
			quiet(t, a, 10*time.Minute)
			if p := a.Problem(); !strings.HasPrefix(p, `the proxy of service "web-1" is not registered at agent.test: register one`) || strings.Contains(p, "service:read") {
				t.Errorf("problem: %q", p)
			}
			f.set(services, reply{body: `{}`})
			quiet(t, a, time.Minute)
			if p := a.Problem(); !strings.Contains(p, "service:read") {
				t.Errorf("problem where the agent shows nothing: %q", p)
			}
			f.set(services, reply{status: 403, body: "ACL not found"})
			quiet(t, a, time.Minute)
			if p := a.Problem(); !strings.Contains(p, "does not know the token") {
				t.Errorf("problem where the token is unknown: %q", p)
			}
			f.set(services, onlyB)
			if cfg, err := next(t, a, 15*time.Second); err != nil || cfg.ProxyID != "web-1-sidecar-proxy" {
				t.Errorf("once it is there: %+v, %v", cfg, err)
			}
		})
	})
	t.Run("two of them", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := newFakeAgent(map[string]reply{services: twins, twinB: recording(t, "service-twin-b.json")})
			a := f.source(t, AgentOptions{SidecarFor: "Twin-1"})
			refused(t, a, `-sidecar-for: "Twin-1": several proxies are registered for it: choose one with -proxy-id: twin-a, twin-b`)
			quiet(t, a, 10*time.Minute)
			if n := len(f.requests()); n > 340 {
				t.Errorf("%d requests in ten minutes", n)
			}
			f.set(services, onlyB)
			if cfg, err := next(t, a, 15*time.Second); err != nil || cfg.ProxyID != "twin-b" {
				t.Errorf("once there is one: %+v, %v", cfg, err)
			}
		})
	})
	t.Run("back under another ID", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := newFakeAgent(map[string]reply{services: onlyB, twinB: recording(t, "service-twin-b.json")})
			a := f.source(t, AgentOptions{SidecarFor: "Twin-1"})
			if _, err := next(t, a, time.Second); err != nil {
				t.Fatal(err)
			}
			f.set(twinB, reply{status: 404, body: "unknown service ID: twin-b"})
			f.set("/v1/agent/service/twin-c", changed(t, "service-twin-b.json", "twin-b", "twin-c"))
			f.set(services, reply{body: strings.ReplaceAll(onlyB.body, "twin-b", "twin-c")})
			if cfg, err := next(t, a, time.Minute); err != nil || cfg.ProxyID != "twin-c" {
				t.Errorf("got %+v, %v", cfg, err)
			}
		})
	})
}
