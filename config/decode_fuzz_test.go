package config

import (
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestNoSecretOfARegistrationIsInAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const secret = "circonus-b1a05eed"
		body := strings.Replace(recording(t, "connect-proxy-web-1.json").body, `"dogstatsd_tags"`,
			`"circonus_api_token": "`+secret+`", "dogstatsd_tags"`, 1)
		f := newFakeAgent(map[string]reply{"/v1/agent/connect/proxy/p": {body: strings.Replace(body, "24412", `"`+"x"+`"`, 1), hash: "1"}})
		a := f.source(t, AgentOptions{ProxyID: "p", Managed: true})
		cfg, err := next(t, a, time.Minute)
		if err == nil || strings.Contains(err.Error()+a.Problem(), secret) || !strings.Contains(err.Error(), "local_bind_port") {
			t.Errorf("got %+v, %v", cfg, err)
		}
		f.set("/v1/agent/connect/proxy/p", reply{body: strings.Replace(body, "{", `{"`+secret+`"`, 1), hash: "2"})
		quiet(t, a, time.Minute)
		if p := a.Problem(); !strings.Contains(p, "is not understood") || strings.Contains(p, secret) {
			t.Errorf("problem: %q", p)
		}
	})
}

func FuzzAnswer(f *testing.F) {
	for _, pattern := range []string{"service-*.json", "connect-proxy-*.json"} {
		paths, err := filepath.Glob(recorded + pattern)
		if err != nil || len(paths) == 0 {
			f.Fatal(paths, err)
		}
		for _, path := range paths {
			f.Add(string(read(f, path)), strings.HasPrefix(filepath.Base(path), "connect"))
		}
	}
	f.Fuzz(func(t *testing.T, body string, managed bool) {
		_, badManaged := unmarshal[managedAnswer](body)
		_, badService := unmarshal[serviceAnswer](body)
		if managed && badManaged != nil || !managed && badService != nil {
			return // waited out
		}
		a := NewAgent(AgentOptions{ProxyID: "p", Managed: managed})
		cfg, mistakes := a.read(agentAnswer{id: "p", managed: managed, body: body})
		if len(mistakes) == 0 && len(cfg.Validate()) > 0 {
			t.Errorf("read what is invalid: %v", cfg.Validate())
		}
		for _, m := range mistakes {
			if m.Problem == "" || strings.ContainsAny(m.String(), "\n\r") {
				t.Errorf("mistake without a problem, or on two lines: %+v", m)
			}
		}
	})
}
