package config

import (
	"encoding/json"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestNumbersComeInManySpellings(t *testing.T) {
	n := func(s string) any { return json.Number(s) }
	for _, c := range []struct {
		raw  any
		want int64
		err  error
	}{
		{n("5000"), 5000, nil},
		{n("5000.0"), 5000, nil},
		{n("5e3"), 5000, nil},
		{n("5.0e+3"), 5000, nil},
		{"5000", 5000, nil},
		{" 5000 ", 5000, nil},
		{"5000.0", 5000, nil},
		{n("-7"), -7, nil},
		{n("9223372036854775807"), math.MaxInt64, nil},
		{n("9223372036854775808"), 0, errRange},
		{n("1e400"), 0, errRange},
		{n("5.5"), 0, errNumber},
		{n("1e-3"), 0, errNumber},
		{"", 0, errNumber},
		{"5s", 0, errNumber},
		{"0x10", 0, errNumber},
		{"1_000", 0, errNumber},
		{"inf", 0, errNumber},
		{"NaN", 0, errNumber},
		{"-Infinity", 0, errNumber},
		{strings.Repeat("1", 50), 0, errRange},
		{true, 0, errNumber},
		{nil, 0, errNumber},
		{[]any{n("1")}, 0, errNumber},
	} {
		if got, err := (value{raw: c.raw}).whole(); got != c.want || !errors.Is(err, c.err) {
			t.Errorf("%v: %d, %v; want %d, %v", c.raw, got, err, c.want, c.err)
		}
	}
}

func TestDurationsCarryAUnitUnlessAnAgentCountsNanoseconds(t *testing.T) {
	for _, c := range []struct {
		v    value
		want time.Duration
		err  error
	}{
		{value{raw: "30s"}, 30 * time.Second, nil},
		{value{raw: "30s", agent: true}, 30 * time.Second, nil},
		{value{raw: json.Number("12000000000"), agent: true}, 12 * time.Second, nil},
		{value{raw: json.Number("1.2e10"), agent: true}, 12 * time.Second, nil},
		{value{raw: json.Number("30")}, 0, errDuration},
		{value{raw: json.Number("0")}, 0, nil},
		{value{raw: "30"}, 0, errDuration},
		{value{raw: "30"}, 0, errDuration},
		{value{raw: "-30s"}, 0, errNegative},
		{value{raw: true}, 0, errDuration},
	} {
		if got, err := c.v.duration(); got != c.want || !errors.Is(err, c.err) {
			t.Errorf("%v (agent: %t): %s, %v; want %s, %v", c.v, c.v.agent, got, err, c.want, c.err)
		}
	}
	if _, err := (value{raw: json.Number("9223372036855")}).milliseconds(); !errors.Is(err, errRange) {
		t.Errorf("a number of milliseconds that no duration holds: %v", err)
	}
}

func TestKeysAreBroughtToSnakeCase(t *testing.T) {
	for key, want := range map[string]string{
		"connect_timeout_ms":  "connect_timeout_ms",
		"ConnectTimeoutMs":    "connect_timeout_ms",
		"MaxConnections":      "max_connections",
		"LocalBindSocketPath": "local_bind_socket_path",
		"TLSMinVersion":       "tls_min_version",
		"EnvoyListenerJSON":   "envoy_listener_json",
		"ALPN":                "alpn",
		"Enforcing5xx":        "enforcing_5xx",
		"":                    "",
	} {
		if got := snake(key); got != want {
			t.Errorf("%s became %s, want %s", key, got, want)
		}
	}
	folded := fold(object{"Limits": "merged in", "limits": "the service's own", "Protocol": "http"})
	if len(folded) != 2 || folded["limits"] != "the service's own" || folded["protocol"] != "http" {
		t.Errorf("folded to %v", folded)
	}
}

func TestAListOfOneMayBeWhatIsInItWhereAnAgentWrites(t *testing.T) {
	one := []string{"Colour=blue"}
	for _, c := range []struct {
		v    value
		want []string
		err  error
	}{
		{value{raw: []any{"Colour=blue"}}, one, nil},
		{value{raw: []any{"Colour=blue"}, agent: true}, one, nil},
		{value{raw: "Colour=blue", agent: true}, one, nil},
		{value{raw: "Colour=blue"}, nil, errTexts},
		{value{raw: true, agent: true}, nil, errTexts},
		{value{raw: []any{json.Number("1")}, agent: true}, nil, errTexts},
	} {
		if got, err := c.v.texts(); !slices.Equal(got, c.want) || !errors.Is(err, c.err) {
			t.Errorf("%v (agent: %t): %q, %v; want %q, %v", c.v, c.v.agent, got, err, c.want, c.err)
		}
	}
	user := map[string]any{"name": "shop", "allow": "db"}
	if got, err := (value{raw: user, agent: true}).users(); err != nil || len(got) != 1 || got[0].Name != "shop" || !slices.Equal(got[0].Allow, []string{"db"}) {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := (value{raw: user}).users(); !errors.Is(err, errUsers) {
		t.Errorf("in a file: %v", err)
	}
}
