package systemtest_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/hashicorp/consul/api"

	"connect-proxy/connectproxy/agenttest"
	"connect-proxy/connectproxy/agenttest/traffic"
)

// What central configuration says here, a real agent takes and hands on.
func TestAbsurdTimesFromCentralConfigurationAreNamedWithTheirEntryAndTrafficFlows(t *testing.T) {
	agenttest.SkipShort(t)
	parallel(t)
	a := agenttest.Modern(t, agenttest.Options{})
	port := agenttest.FreePorts(t, 3)
	none := 0
	configure(t, a, &api.ProxyConfigEntry{Kind: api.ProxyDefaults, Name: api.ProxyConfigGlobal, Config: map[string]any{
		"handshake_timeout_ms": 5, "max_inbound_connections": -7, "idle_timeout": "5ns", "local_conect_timeout_ms": 2000,
	}})
	configure(t, a, &api.ServiceConfigEntry{Kind: api.ServiceDefaults, Name: "web", UpstreamConfig: &api.UpstreamConfiguration{
		Defaults: &api.UpstreamConfig{
			ConnectTimeoutMs:   3,
			Limits:             &api.UpstreamLimits{MaxConnections: &none},
			PassiveHealthCheck: &api.PassiveHealthCheck{Interval: 30},
		},
	}})
	configure(t, a, &api.ServiceResolverConfigEntry{Kind: api.ServiceResolver, Name: "db", ConnectTimeout: 5, RequestTimeout: 7})
	sidecar{name: "db", app: portOf(app(t, "db")), port: port}.start(t, a)
	web := sidecar{name: "web", app: 1, port: port + 1, upstreams: []api.Upstream{up("db", port+2)}}
	web.register(a)
	a.WaitConnect("db", 1)
	agent := a.Record()
	p := runProxyAt(t, "http://"+agent.Addr, a.Token, "-sidecar-for", "web").ready()
	reaches(t, at(port+2), "db")
	only(t, at(port+2), "db")

	lines := []string{
		`proxy.config.handshake_timeout_ms: 5: too short`,
		`proxy.config.max_inbound_connections: -7: negative`,
		`proxy.config.idle_timeout: "5ns": too short`,
		`proxy.config.local_conect_timeout_ms is ignored, since nobody knows this key: did you mean local_connect_timeout_ms?`,
		`proxy.upstreams[0].config.connect_timeout_ms: 3: too short`,
		`proxy.upstreams[0].config.limits.max_connections: 0: 0 is no limit here`,
		`proxy.upstreams[0].config.passive_health_check.interval: 30: too short`,
		`ConnectTimeout 5ns of service-resolver "db"`,
	}
	agenttest.Eventually(t, afterPoll, func() error { // asked for again, which is no news
		if n := agent.Counts(traffic.DiscoveryChain).Requests; n < 2 {
			return fmt.Errorf("the chain was asked for %d times", n)
		}
		return nil
	})
	var logged []string
	agenttest.Eventually(t, soon, func() error {
		if logged = p.Output.Matching("setting is not honoured"); len(logged) < len(lines) {
			return fmt.Errorf("%d warnings, want %d:\n%s", len(logged), len(lines), strings.Join(logged, "\n"))
		}
		return nil
	})
	for _, want := range lines {
		n := 0
		for _, line := range logged {
			if strings.Contains(strings.ReplaceAll(line, `\"`, `"`), want) {
				n++
			}
		}
		if n != 1 {
			t.Errorf("said %d times: %s", n, want)
		}
	}
	if len(logged) != len(lines) {
		t.Errorf("%d warnings, want %d:\n%s", len(logged), len(lines), strings.Join(logged, "\n"))
	}
	if all := strings.Join(logged, "\n"); !strings.Contains(all, "proxy-defaults") || !strings.Contains(all, "upstream_config of service-defaults") {
		t.Errorf("the entries are not named:\n%s", all)
	}
}
