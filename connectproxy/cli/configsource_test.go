package cli

import (
	"io"
	"strings"
	"testing"

	"connect-proxy/config"
)

func planOf(t *testing.T, vars map[string]string, args ...string) *plan {
	t.Helper()
	p, problems := newPlan(t.Context(), args, fakeEnv(vars), io.Discard)
	if len(problems) > 0 {
		t.Fatalf("%q: %q", args, problems)
	}
	return p
}

func TestExactlyOneSourceIsChosen(t *testing.T) {
	launched := map[string]string{"CONNECT_PROXY_ID": "web-proxy", "CONNECT_PROXY_TOKEN": "ours", "CONNECT_SIDECAR_FOR": "inherited"}
	for name, tc := range map[string]struct {
		vars map[string]string
		args []string
		want configSource
	}{
		"launched by an agent":        {launched, nil, configSource{mode: config.Managed, proxyID: "web-proxy", by: "CONNECT_PROXY_ID"}},
		"launched with its ID":        {launched, []string{"-proxy-id", "web-proxy"}, configSource{mode: config.Managed, proxyID: "web-proxy", by: "-proxy-id"}},
		"launched for another":        {launched, []string{"-proxy-id", "api-proxy"}, configSource{mode: config.Registered, proxyID: "api-proxy", by: "-proxy-id"}},
		"a sidecar by its variable":   {map[string]string{"CONNECT_SIDECAR_FOR": "web"}, nil, configSource{mode: config.Registered, sidecarFor: "web", by: "CONNECT_SIDECAR_FOR"}},
		"a sidecar by its flag":       {launched, []string{"-sidecar-for", "api"}, configSource{mode: config.Registered, sidecarFor: "api", by: "-sidecar-for"}},
		"a file beats the variables":  {launched, []string{"-config-file", "web.hcl"}, configSource{mode: config.File, by: "-config-file"}},
		"flags beat the variables":    {launched, []string{"-service", "web", "-upstream", "db:8181"}, configSource{mode: config.Flags, by: "-service"}},
		"an empty variable is no one": {map[string]string{"CONNECT_PROXY_ID": ""}, []string{"-proxy-id", "web-proxy"}, configSource{mode: config.Registered, proxyID: "web-proxy", by: "-proxy-id"}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := planOf(t, tc.vars, tc.args...).from; got != tc.want {
				t.Errorf("got %+v, want %+v", got, tc.want)
			}
		})
	}
}

func TestFlagsAloneAreAWholeConfiguration(t *testing.T) {
	p := planOf(t, map[string]string{"CONSUL_NAMESPACE": "shop"},
		"-service", "web", "-service-addr", "unix:/run/web.sock", "-listen", "[::1]:8443",
		"-upstream", "db:8181", "-upstream", "nearest-db.query:127.0.0.10:8182", "-upstream", "cache:unix:/run/cache.sock")
	got := summary(p.static)
	want := "service web, public [::1]:8443 to /run/web.sock, upstream db on 127.0.0.1:8181, " +
		"upstream nearest-db.query on 127.0.0.10:8182, upstream cache on /run/cache.sock"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if p.static.Mode != config.Flags || p.static.Namespace != "shop" {
		t.Errorf("mode %s, namespace %q", p.static.Mode, p.static.Namespace)
	}
}

func TestARegistrationIsNamedAsConsulsOwnProxyNamesIt(t *testing.T) {
	flags := func(listen string, more ...string) []string {
		return append([]string{"-service", "web", "-service-addr", "127.0.0.1:8080", "-listen", listen, "-register"}, more...)
	}
	file := t.TempDir() + "/web.hcl"
	write(t, file, "service_name = \"web\"\npublic_listener {\n  bind_address = \"127.0.0.7\"\n  bind_port = 8443\n  local_service_address = \"127.0.0.1:8080\"\n}\n")
	for name, tc := range map[string]struct {
		args        []string
		id, address string
	}{
		"every address is the node's": {flags(":8443"), "web-proxy", ""},
		"so is the wildcard":          {flags("0.0.0.0:8443"), "web-proxy", ""},
		"one address is itself":       {flags("127.0.0.9:8443"), "web-proxy", "127.0.0.9"},
		"a suffix tells two apart":    {flags(":8443", "-register-id", "2"), "web-proxy-2", ""},
		"a file names the service":    {[]string{"-config-file", file, "-register"}, "web-proxy", "127.0.0.7"},
	} {
		t.Run(name, func(t *testing.T) {
			r := planOf(t, nil, tc.args...).register
			if r.ID != tc.id || r.Name != "web-proxy" || r.Address != tc.address {
				t.Errorf("got %+v", *r)
			}
		})
	}
}

func TestLogsCanBeJSON(t *testing.T) {
	_, _, stderr := program(t, "-service", "web", "-upstream", "db:18182", "-http-addr", "127.0.0.1:1", "-log-json", "-log-level", "WARN")
	if strings.Contains(stderr, "starting") {
		t.Errorf("INFO is logged at WARN:\n%s", stderr)
	}
	_, _, stderr = program(t, "-service", "web", "-upstream", "db:18182", "-http-addr", "127.0.0.1:1", "-log-json", "-log-level", "err")
	if stderr != "" {
		t.Errorf("logged at ERR:\n%s", stderr)
	}
	_, _, stderr = program(t, "-service", "web", "-upstream", "db:18182", "-http-addr", "127.0.0.1:1", "-log-json")
	if !strings.HasPrefix(stderr, `{"@level":"info"`) {
		t.Errorf("not JSON:\n%s", stderr)
	}
}
