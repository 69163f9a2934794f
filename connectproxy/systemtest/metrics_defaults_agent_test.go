package systemtest_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/hashicorp/consul/api"

	"connect-proxy/connectproxy/agenttest"
)

// What operators write once for every proxy of a cluster, beside what one proxy has
// of its own.
func TestOnARealAgentMetricsGoWhereProxyDefaultsSay(t *testing.T) {
	agenttest.SkipShort(t)
	parallel(t)
	a := agenttest.Modern(t, agenttest.Options{})
	plain, tagged := newStatsd(t), newStatsd(t)
	port := agenttest.FreePorts(t, 4)
	page := port + 3
	configure(t, a, &api.ProxyConfigEntry{Kind: api.ProxyDefaults, Name: api.ProxyConfigGlobal, Config: map[string]any{
		"envoy_statsd_url": "udp://" + plain.address(), "envoy_dogstatsd_url": "udp://" + tagged.address(),
		"envoy_stats_tags": []string{"Colour=blue"}, "envoy_stats_flush_interval": "1s",
	}})
	db := sidecar{name: "db", app: portOf(app(t, "db")), port: port}
	web := sidecar{name: "web", app: 1, port: port + 1, upstreams: []api.Upstream{up("db", port+2)}, config: map[string]any{
		"envoy_prometheus_bind_addr": at(page),
	}}
	db.start(t, a)
	web.start(t, a)
	a.WaitConnect("db", 1)
	reaches(t, at(port+2), "db")

	plain.awaitLine(`^envoy\.tcp\.upstream\.db\.default\.default\.dc1\.downstream_cx_rx_bytes_total:[1-9]\d*\|c$`)
	tagged.awaitLine(`^envoy\.tcp\.downstream_cx_rx_bytes_total:[1-9]\d*\|c\|#.*consul\.source\.service:web.*colour:blue`)
	tagged.awaitLine(`^envoy\.tcp\.downstream_cx_rx_bytes_total:[1-9]\d*\|c\|#.*consul\.source\.service:db.*colour:blue`)
	agenttest.Eventually(t, soon, func() error {
		text, err := fetchedPage("http://" + at(page) + "/metrics")
		if err == nil && !strings.Contains(text, `colour="blue"`) {
			err = fmt.Errorf("no tag on the page")
		}
		return err
	})
}
