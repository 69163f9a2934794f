package config

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestWhereMetricsAreSentIsReadAsConsulReadsIt(t *testing.T) {
	t.Setenv("STATSD", "udp://10.0.0.1:8125")
	t.Setenv("HOST_IP", "10.0.0.2")
	sink := func(network, address string) []Sink {
		return []Sink{{Key: "envoy_statsd_url", Network: network, Address: address, Interval: DefaultFlushInterval}}
	}
	for url, want := range map[string][]Sink{
		"":                          nil,
		"udp://127.0.0.1:8125":      sink("udp", "127.0.0.1:8125"),
		"udp://[::1]:8125":          sink("udp", "[::1]:8125"),
		"udp://statsd.local:8125":   sink("udp", "statsd.local:8125"),
		"unix:///run/dog.sock":      sink("unixgram", "/run/dog.sock"),
		"$STATSD":                   sink("udp", "10.0.0.1:8125"),
		"udp://${HOST_IP}:8125":     sink("udp", "10.0.0.2:8125"),
		"udp://$HOST_IP:8125":       sink("udp", "10.0.0.2:8125"),
		"$NOT_THERE":                nil,
		"tcp://127.0.0.1:8125":      nil,
		"127.0.0.1:8125":            nil,
		"udp://127.0.0.1":           nil,
		"udp://127.0.0.1:99999":     nil,
		"udp://:8125":               nil,
		"unix://":                   nil,
		"udp://127.0.0.1:8125\x00x": nil,
	} {
		got, problems := Telemetry{StatsdURL: url}.Sinks()
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", url, diff)
		}
		if bad := url != "" && want == nil; bad != (len(problems) == 1) {
			t.Errorf("%q: problems %q", url, problems)
		}
	}
}

func TestTheTelemetryThatAnAgentGivesItsProxyIsHonoured(t *testing.T) {
	m, err := unmarshal[managedAnswer](`{"TargetServiceName": "web", "Config": {"telemetry": {"statsd_address": "127.0.0.1:8125", "statsite_address": "127.0.0.1:8126", "dogstatsd_addr": "127.0.0.1:8127",
		"dogstatsd_tags": ["az:a"], "metrics_prefix": "consul.proxy.web", "disable_hostname": true, "filter_default": true,
		"blocked_prefixes": ["consul.proxy.web.runtime"], "prometheus_retention_time": 60000000000, "circonus_api_token": "secret", "circonus_check_tags": "x"}}}`)
	if err != nil {
		t.Fatal(err)
	}
	r := &registration{cfg: Config{Mode: Managed}}
	r.managed(m)
	want := BuiltInTelemetry{
		StatsdAddress: "127.0.0.1:8125", StatsiteAddress: "127.0.0.1:8126", DogstatsdAddress: "127.0.0.1:8127", DogstatsdTags: []string{"az:a"},
		Prefix: "consul.proxy.web", DisableHostname: true, FilterDefault: true, BlockedPrefixes: []string{"consul.proxy.web.runtime"},
	}
	if diff := cmp.Diff(want, r.cfg.Telemetry.BuiltIn); diff != "" || len(r.mistakes) > 0 {
		t.Errorf("mistakes %v, telemetry (-want +got):\n%s", r.mistakes, diff)
	}
	if w := r.cfg.Warnings; len(w) != 1 || w[0] != "connect.proxy.config.telemetry.circonus_api_token is ignored: metrics are not sent to Circonus" {
		t.Errorf("warnings %q", w)
	}
	sinks, problems := r.cfg.Telemetry.Sinks()
	if diff := cmp.Diff([]Sink{
		{Key: "telemetry.statsd_address", Network: "udp", Address: "127.0.0.1:8125", BuiltIn: true, Interval: 5 * time.Second},
		{Key: "telemetry.statsite_address", Network: "tcp", Address: "127.0.0.1:8126", BuiltIn: true, Interval: 5 * time.Second},
		{Key: "telemetry.dogstatsd_addr", Network: "udp", Address: "127.0.0.1:8127", Tagged: true, BuiltIn: true, Interval: 5 * time.Second},
	}, sinks); diff != "" || len(problems) > 0 {
		t.Errorf("problems %q, sinks (-want +got):\n%s", problems, diff)
	}
}
