package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// absurd are values, as JSON, that no setting of a kind can mean.
var absurd = map[string][]string{
	"milliseconds": {"-1", `"-5000"`, "0.5", "1e-3", "1e300", "1e400", "9223372036854775808", "9223372036854775807", "-9223372036854775808",
		"86400001000000", `"NaN"`, `"inf"`, `"5s"`, `"soon"`, "true", "[5]", `{"ms": 5}`},
	"duration": {"-1", `"-30s"`, "5", "1.5", "1e300", "1e400", "9223372036854775808", "9223372036854775807", "-9223372036854775808",
		`"5ns"`, `"9ms"`, `"99999999999h"`, `"87601h"`, `"30"`, `"NaN"`, `"soon"`, "true", "[5]", `{"s": 5}`},
	"count": {"-1", `"-1"`, "2.5", "1e300", "1e400", "2147483648", "9223372036854775808", "-9223372036854775808",
		`"NaN"`, `"inf"`, `"many"`, "true", "[5]", `{"n": 5}`},
	"percentage": {"-1", "101", "2.5", "1e300", `"many"`, "true", "[5]"},
}

// tunables are every time and count that there is, with its kind: whoever adds
// one to the tables says here what it is.
var tunables = map[string]string{
	"proxy.envoy_stats_flush_interval":                        "duration",
	"proxy.drain_timeout":                                     "duration",
	"proxy.half_close_timeout":                                "duration",
	"proxy.handshake_timeout_ms":                              "milliseconds",
	"proxy.idle_timeout":                                      "duration",
	"proxy.local_connect_timeout_ms":                          "milliseconds",
	"proxy.max_inbound_connections":                           "count",
	"proxy.max_lifetime":                                      "duration",
	"proxy.max_stale_authorization":                           "duration",
	"proxy.max_stale_endpoints":                               "duration",
	"upstream.connect_timeout_ms":                             "milliseconds",
	"upstream.half_close_timeout":                             "duration",
	"upstream.idle_timeout":                                   "duration",
	"upstream.limits.max_connections":                         "count",
	"upstream.max_lifetime":                                   "duration",
	"upstream.passive_health_check.interval":                  "duration",
	"upstream.passive_health_check.max_failures":              "count",
	"upstream.passive_health_check.base_ejection_time":        "duration",
	"upstream.passive_health_check.max_ejection_percent":      "percentage",
	"upstream.passive_health_check.enforcing_consecutive_5xx": "percentage",
}

// tunablesOf are those of a table.
func tunablesOf[T any](prefix string, table keys[T]) []string {
	var found []string
	for name, s := range table {
		if s.tunable {
			found = append(found, prefix+name)
		}
		found = append(found, tunablesOf(prefix+name+".", s.block)...)
	}
	return found
}

func TestEveryTimeAndCountIsJudged(t *testing.T) {
	all := slices.Concat(tunablesOf("proxy.", publicKeys), tunablesOf("proxy.", budgetKeys), tunablesOf("upstream.", dialKeys))
	// The same table again, and what a test of its own judges.
	all = slices.DeleteFunc(all, func(name string) bool {
		return strings.HasPrefix(name, "proxy.dynamic_upstreams.") || name == "proxy.by_name.max_connections" || name == "proxy.micro.max_connections"
	})
	slices.Sort(all)
	if diff := cmp.Diff(slices.Sorted(maps.Keys(tunables)), all); diff != "" {
		t.Errorf("the times and counts (-in this test +in the tables):\n%s", diff)
	}
	// By its type: a time or a count that were read without being judged.
	for name, s := range publicKeys {
		if err := s.set(&Public{}, value{raw: json.Number("7777777")}); err == nil && !s.tunable && name != "bind_port" {
			t.Errorf("%s takes any number", name)
		}
	}
	for name, s := range upstreamKeys {
		if s.block != nil || name == "local_bind_port" {
			continue
		}
		if err := s.set(&Upstream{}, value{raw: json.Number("7777777")}); err == nil && !s.tunable {
			t.Errorf("%s takes any number", name)
		}
	}
}

// registered is what an agent says of a proxy with one setting more, by its
// name in tunables; camel spells nested ones as central configuration does.
func registered(t *testing.T, setting, val string, camel bool) *registration {
	t.Helper()
	proxy, up := "", ""
	where, key, _ := strings.Cut(setting, ".")
	outer, inner, nested := strings.Cut(key, ".")
	if nested {
		if camel {
			inner = map[string]string{"max_connections": "MaxConnections", "max_failures": "MaxFailures", "interval": "Interval", "base_ejection_time": "BaseEjectionTime",
				"max_ejection_percent": "MaxEjectionPercent", "enforcing_consecutive_5xx": "EnforcingConsecutive5xx"}[inner]
		}
		val = fmt.Sprintf(`{%q: %s}`, inner, val)
	}
	switch text := fmt.Sprintf("%q: %s", outer, val); {
	case val == "":
	case where == "proxy":
		proxy = text
	default:
		up = text
	}
	body := fmt.Sprintf(`{"Kind": "connect-proxy", "ID": "web-proxy", "Port": 20000, "Proxy": {
		"DestinationServiceName": "web", "LocalServicePort": 8080, "Config": {%s},
		"Upstreams": [{"DestinationName": "db", "LocalBindPort": 9191, "Config": {%s}}]}}`, proxy, up)
	s, err := unmarshal[serviceAnswer](body)
	if err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	r := &registration{cfg: Config{Mode: Registered}}
	r.registered(s, "web-proxy")
	return r
}

func TestAnAbsurdTimeOrCountFromAnAgentIsNamedWithItsOriginAndNotObeyed(t *testing.T) {
	want := registered(t, "", "", false).cfg
	for setting, kind := range tunables {
		field := strings.Replace(strings.Replace(setting, "proxy.", "proxy.config.", 1), "upstream.", "proxy.upstreams[0].config.", 1)
		values := absurd[kind]
		if setting == "upstream.limits.max_connections" {
			values = append([]string{"0"}, values...) // no limit here, and nothing at all through Envoy
		}
		for _, val := range values {
			for _, camel := range []bool{false, true} {
				if camel && strings.Count(setting, ".") == 1 {
					continue
				}
				r := registered(t, setting, val, camel)
				got := r.cfg
				if len(r.mistakes) > 0 || len(got.Warnings) != 1 {
					t.Errorf("%s %s: mistakes %v, warnings %q", setting, val, r.mistakes, got.Warnings)
					continue
				}
				origin := `the registration of "web-proxy", service-defaults "web" or proxy-defaults`
				switch {
				case camel:
					origin = `(it comes from upstream_config of service-defaults "web")`
				case strings.HasPrefix(setting, "upstream."):
					origin = `the registration of "web-proxy" or upstream_config of service-defaults "web"`
				}
				w := got.Warnings[0]
				if !strings.HasPrefix(w, field+": ") || !strings.Contains(w, "the default is used") || !strings.Contains(w, origin) || strings.ContainsAny(w, "\n\r") {
					t.Errorf("%s %s: warning %q, origin %q", setting, val, w, origin)
				}
				got.Warnings = nil
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("%s %s was obeyed:\n%s", setting, val, diff)
				}
				full := got.WithDefaults()
				if r.validate(full); len(r.mistakes) > 0 {
					t.Errorf("%s %s: %v", setting, val, r.mistakes)
				}
			}
		}
	}
}

func TestATimeOrCountThatMakesSenseIsObeyedWithoutAWord(t *testing.T) {
	without := registered(t, "", "", false).cfg
	sensible := map[string][]string{
		"milliseconds": {"10", `"2500"`, "2500.0", "3600000"},
		"duration":     {"10000000", "1.2e10", `"10ms"`, `"24h"`},
		"count":        {"1", `"7"`, "7.0", "2147483647"},
		"percentage":   {"0", "1", `"50"`, "100"},
	}
	for setting, kind := range tunables {
		for _, val := range sensible[kind] {
			got := registered(t, setting, val, false)
			if len(got.mistakes)+len(got.cfg.Warnings) > 0 || cmp.Equal(without, got.cfg) {
				t.Errorf("%s %s: mistakes %v, warnings %q, config %+v", setting, val, got.mistakes, got.cfg.Warnings, got.cfg)
			}
		}
		for _, val := range []string{"0", `""`, "null"} {
			got := registered(t, setting, val, false)
			if val == "0" && (setting == "upstream.limits.max_connections" || kind == "percentage") {
				continue
			}
			if diff := cmp.Diff(without, got.cfg); diff != "" || len(got.mistakes) > 0 {
				t.Errorf("%s %s is not the default: %v\n%s", setting, val, got.mistakes, diff)
			}
		}
	}
}

func TestAnAbsurdTimeOrCountInAFileIsAMistakeWithItsLine(t *testing.T) {
	for setting, kind := range tunables {
		where, key, _ := strings.Cut(setting, ".")
		for _, val := range absurd[kind] {
			if strings.HasPrefix(val, "{") || val == "1e400" {
				continue // another syntax in a file, and no number of HCL's
			}
			line := key + " = " + val
			if outer, inner, nested := strings.Cut(key, "."); nested {
				line = outer + " {\n" + inner + " = " + val + "\n}"
			}
			top, public, up := "", "", ""
			_, isTop := budgetKeys[key]
			switch {
			case isTop:
				top = line
			case where == "proxy":
				public = line
			default:
				up = line
			}
			text := fmt.Sprintf("service_name = \"web\"\n%s\npublic_listener {\nbind_port = 20000\nlocal_service_address = \"127.0.0.1:80\"\n%s\n}\n"+
				"upstream {\ndestination_name = \"db\"\nlocal_bind_port = 9191\n%s\n}\n", top, public, up)
			_, err := Parse("web.hcl", []byte(text))
			var invalid *Invalid
			if !errors.As(err, &invalid) || len(invalid.Mistakes) != 1 {
				t.Errorf("%s = %s: %v", setting, val, err)
				continue
			}
			m := invalid.Mistakes[0]
			want := slices.IndexFunc(strings.Split(text, "\n"), func(l string) bool { return strings.Contains(l, " = "+val) && !strings.Contains(l, "service") }) + 1
			if m.Pos != fmt.Sprintf("web.hcl:%d", want) || m.Problem == "" {
				t.Errorf("%s = %s: %s, want line %d", setting, val, m, want)
			}
		}
	}
}

func TestAManagedProxysAbsurdTimesAreTracedToItsConfigAndItsAgents(t *testing.T) {
	got, mistakes := readRecording(t, "connect-proxy-web-1.json", true, strings.NewReplacer(`"handshake_timeout_ms": 4000`, `"handshake_timeout_ms": 4`))
	want := `connect.proxy.config.handshake_timeout_ms: 4: too short: give 10ms to 1h; the key counts milliseconds; the default is used ` +
		`(it comes from connect.proxy.config of service "web", or connect.proxy_defaults.config of its agent)`
	if len(mistakes) > 0 || !slices.Contains(got.Warnings, want) || got.Public.HandshakeTimeout != DefaultHandshakeTimeout {
		t.Errorf("mistakes %v, warnings %q", mistakes, got.Warnings)
	}
}
