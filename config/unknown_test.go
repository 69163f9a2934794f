package config

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// opaque reads a registration with these opaque settings of the proxy and of
// its upstream, and returns the warnings.
func opaque(t *testing.T, proxy, up string) []string {
	t.Helper()
	s, err := unmarshal[serviceAnswer](fmt.Sprintf(`{"Kind": "connect-proxy", "ID": "web-proxy", "Port": 20000, "Proxy": {
		"DestinationServiceName": "web", "LocalServicePort": 8080, "Config": {%s},
		"Upstreams": [{"DestinationName": "db", "LocalBindPort": 9191, "Config": {%s}}]}}`, proxy, up))
	if err != nil {
		t.Fatal(err)
	}
	r := &registration{cfg: Config{Mode: Registered}}
	r.registered(s, "web-proxy")
	if len(r.mistakes) > 0 {
		t.Fatal(r.mistakes)
	}
	return r.cfg.Warnings
}

func TestAMistypedKeyIsNamedWithTheOneThatWasMeant(t *testing.T) {
	const p, u = "proxy.config.", "proxy.upstreams[0].config."
	for _, c := range []struct{ name, proxy, up, want string }{
		{"a letter left out", `"local_conect_timeout_ms": 5`, "", p + "local_conect_timeout_ms is ignored, since nobody knows this key: did you mean local_connect_timeout_ms?"},
		{"two letters changed over", `"hanshdake_timeout_ms": 5`, "", p + "hanshdake_timeout_ms is ignored, since nobody knows this key: did you mean handshake_timeout_ms?"},
		{"no unit", "", `"connect_timeout": 5`, u + "connect_timeout is ignored, since nobody knows this key: did you mean connect_timeout_ms?"},
		{"in CamelCase", "", `"ConectTimeoutMs": 5`, u + "ConectTimeoutMs is ignored, since nobody knows this key: did you mean connect_timeout_ms?"},
		{"in a block", "", `"limits": {"max_conections": 5}`, u + "limits.max_conections is ignored, since nobody knows this key: did you mean max_connections?"},
		{"a block", "", `"passive_health_chek": {"interval": "5s"}`, u + "passive_health_chek is ignored, since nobody knows this key: did you mean passive_health_check?"},
		{"one of Envoy's", `"envoy_prometheus_bind_adr": "x"`, "", p + "envoy_prometheus_bind_adr is ignored, since nobody knows this key: did you mean envoy_prometheus_bind_addr?"},
		{"like nothing", `"colour": "blue"`, "", p + "colour is ignored, since nobody knows this key"},
		{"an upstream's, at the proxy", `"connect_timeout_ms": 5000`, "", p + "connect_timeout_ms is ignored: it is a setting of an upstream, and belongs in the config of one"},
		{"the proxy's, at an upstream", "", `"local_connect_timeout_ms": 5000`, u + "local_connect_timeout_ms is ignored: it is a setting of the proxy, not of one of its upstreams"},
		{"with a line in it", `"bind_\nport": 1`, "", p + "bind_ port is ignored, since nobody knows this key: did you mean bind_port?"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff([]string{c.want}, opaque(t, c.proxy, c.up)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestRecordedRegistrationsHaveNoMistypedKey(t *testing.T) {
	for _, file := range []string{"service-web-1-sidecar-proxy.json", "service-shop-sidecar-proxy.json", "connect-proxy-web-1.json", "connect-proxy-web-1-consul-1.2.json"} {
		cfg, _ := readRecording(t, file, strings.HasPrefix(file, "connect"), nil)
		if i := slices.IndexFunc(cfg.Warnings, func(w string) bool { return strings.Contains(w, "nobody knows") }); i >= 0 {
			t.Errorf("%s: %s", file, cfg.Warnings[i])
		}
	}
}

func TestAMistypedKeyOfConsul12sUpstreamsIsNamed(t *testing.T) {
	cfg, mistakes := readRecording(t, "connect-proxy-web-1-consul-1.2.json", true, strings.NewReplacer(`"connect_timeout_ms"`, `"connect_timeout"`))
	want := "connect.proxy.config.upstreams[0].connect_timeout is ignored, since nobody knows this key: did you mean connect_timeout_ms?"
	if len(mistakes) > 0 || !slices.Contains(cfg.Warnings, want) {
		t.Errorf("mistakes %v, warnings %q", mistakes, cfg.Warnings)
	}
}

func TestAThousandUnknownKeysAreAFewLines(t *testing.T) {
	var many []string
	for i := range 1000 {
		many = append(many, fmt.Sprintf("\"x%d\": 1", i))
	}
	if n := len(opaque(t, strings.Join(many, ","), "")); n > mostStrange {
		t.Errorf("%d warnings", n)
	}
}
