package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestARegistrationSaysWhoMayNameWhat(t *testing.T) {
	r := registered(t, "proxy.by_name", `{"bind_port": "1080", "Allow": ["db", "team-*"], "users": [{"Name": "shop", "allow": ["mail"]}], "route": "path"}`, false)
	if len(r.mistakes)+len(r.cfg.Warnings) > 0 || r.cfg.ByName == nil {
		t.Fatalf("mistakes %v, warnings %q, %+v", r.mistakes, r.cfg.Warnings, r.cfg.ByName)
	}
	b := r.cfg.WithDefaults().ByName
	if b.Bind.String() != "127.0.0.1:1080" || !slices.Equal(b.Allow, []string{"db", "team-*"}) || b.Route != RoutePath || b.Users[0].Name != "shop" {
		t.Errorf("%+v", b)
	}
	if full := r.cfg.WithDefaults(); full.DynamicUpstreams == nil || full.DynamicUpstreams.HalfCloseTimeout != DefaultHalfCloseTimeout {
		t.Errorf("%+v", full.DynamicUpstreams)
	}
	r = registered(t, "proxy.dynamic_upstreams", `{"connect_timeout_ms": 4, "limits": {"max_connections": "many"}, "balance": "random"}`, false)
	if u := r.cfg.DynamicUpstreams; len(r.cfg.Warnings) != 2 || u.ConnectTimeout != 0 || u.MaxConnections != 0 || u.Balance != Random {
		t.Errorf("warnings %q, %+v", r.cfg.Warnings, u)
	}
	r = registered(t, "proxy.by_name", `{"bind_port": 1080, "max_connections": -1}`, false)
	if len(r.mistakes) > 0 || len(r.cfg.Warnings) != 1 || r.cfg.ByName.MaxConnections != 0 {
		t.Errorf("mistakes %v, warnings %q", r.mistakes, r.cfg.Warnings)
	}
	r = registered(t, "proxy.by_name", `{"bind_port": 1080, "bind_address": "10.0.0.1", "alow": ["db"]}`, false)
	r.validate(r.cfg.WithDefaults())
	if len(r.mistakes) != 2 || r.mistakes[0].Field != "proxy.config.by_name.bind_address" || r.mistakes[1].Field != "proxy.config.by_name.allow" {
		t.Errorf("%v", r.mistakes)
	}
	if len(r.cfg.Warnings) != 1 || !strings.Contains(r.cfg.Warnings[0], "did you mean allow") {
		t.Errorf("%q", r.cfg.Warnings)
	}
}

func TestAPasswordIsInNoMistake(t *testing.T) {
	for _, users := range []string{`[{ name = "shop", password = "hunter2", permit = [] }]`, `[{ name = "shop", password = ["hunter2"] }]`, `"hunter2"`} {
		_, err := Parse("web.hcl", []byte("service_name = \"web\"\nby_name {\n  bind_port = 1080\n  users = "+users+"\n}\n"))
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%v", err)
		}
	}
}

func TestAPathThatNamesNothingIsNotKept(t *testing.T) {
	for route, want := range map[string]int{"": 1, `route = "host"`: 1, `route = "path"`: 0} {
		_, err := Parse("web.hcl", []byte("service_name = \"web\"\nby_name {\n  bind_port = 1080\n  allow = [\"db\"]\n  keep_path = true\n  "+route+"\n}\n"))
		if got := strings.Count(fmt.Sprint(err), "by_name.keep_path: true: "); got != want {
			t.Errorf("%q: %d mistakes, want %d: %v", route, got, want, err)
		}
	}
}

// A list that was forgotten would refuse every client; one that is empty says that
// this is meant.
func TestAListOfWhatClientsMayGoToIsNotForgotten(t *testing.T) {
	for settings, missing := range map[string]string{
		`"by_name": {"bind_port": 1080}`:                                                                       "by_name.allow",
		`"by_name": {"bind_port": 1080, "allow": []}`:                                                          "",
		`"by_name": {"bind_port": 1080, "allow": ["db"]}`:                                                      "",
		`"by_name": {"bind_port": 1080, "users": [{"name": "shop", "allow": ["db"]}]}`:                         "",
		`"by_name": {"bind_port": 1080, "users": [{"name": "shop", "allow": ["db"]}, {"name": "cron"}]}`:       "by_name.users[1].allow",
		`"by_name": {"bind_port": 1080, "allow": ["db"], "users": [{"name": "shop"}]}`:                         "by_name.users[0].allow",
		`"by_name": {"bind_port": 1080, "allow": ["db"], "users": [{"name": "shop", "allow": []}]}`:            "",
		`"micro": {"bind_port": 8081}`:                                                                         "micro.allow",
		`"micro": {"bind_port": 8081, "allow": []}`:                                                            "",
		`"micro": {"bind_port": 8081, "allow": ["greeter"]}`:                                                   "",
		`"micro": {"bind_port": 8081}, "by_name": {"bind_port": 1080, "allow": ["*"]}`:                         "micro.allow",
		`"micro": {"bind_port": 8081, "allow": ["*"]}, "by_name": {"bind_port": 1080, "dns_domain": "consul"}`: "by_name.allow",
	} {
		_, err := Parse("web.json", []byte(`{"service_name": "web", `+settings+`}`))
		s, unmarshalled := unmarshal[serviceAnswer](`{"Kind": "connect-proxy", "ID": "web-proxy", "Port": 20000, "Proxy": {
			"DestinationServiceName": "web", "LocalServicePort": 8080, "Config": {` + settings + `}}}`)
		if unmarshalled != nil {
			t.Fatal(unmarshalled)
		}
		r := &registration{cfg: Config{Mode: Registered}}
		r.registered(s, "web-proxy")
		r.validate(r.cfg.WithDefaults())
		if missing == "" {
			if err != nil || len(r.mistakes) > 0 {
				t.Errorf("%s: in a file %v, in a registration %v", settings, err, r.mistakes)
			}
			continue
		}
		says := missing + `: missing: list the services that clients may go to, such as ["db", "team-*"], or ["*"] for all`
		var invalid *Invalid
		if !errors.As(err, &invalid) || len(invalid.Mistakes) != 1 || invalid.Mistakes[0].String() != "web.json:1: "+says {
			t.Errorf("%s: in a file %v", settings, err)
		}
		if len(r.mistakes) != 1 || r.mistakes[0].String() != "proxy.config."+says {
			t.Errorf("%s: in a registration %v", settings, r.mistakes)
		}
	}
}
