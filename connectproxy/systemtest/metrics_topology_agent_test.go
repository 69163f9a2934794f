package systemtest_test

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"connect-proxy/connectproxy/agenttest"
	"connect-proxy/connectproxy/agenttest/chromium"
)

// topologyQueries are those that Consul's UI sends for a service that speaks
// TCP, by what they are about, as its provider for Prometheus has them
// (metrics-providers/prometheus.js of Consul 1.15).
func topologyQueries(service, dc, namespace string) map[string]string {
	source := fmt.Sprintf("consul_source_service=%q,consul_source_datacenter=%q,consul_source_namespace=%q", service, dc, namespace)
	public := source + `,envoy_tcp_prefix="public_listener"`
	all := map[string]string{
		"data rate": `8 * sum by (label) (label_replace(irate(envoy_tcp_downstream_cx_tx_bytes_total{` + public + `}[10m]), "label", "Outbound", "__name__", ".*") or ` +
			`label_replace(irate(envoy_tcp_downstream_cx_rx_bytes_total{` + public + `}[10m]), "label", "Inbound", "__name__", ".*"))`,
	}
	for _, group := range []struct{ of, prefix, selector, by, failures string }{
		{"service", "envoy_tcp_downstream_cx", public, " OR on() vector(0)", "_no_route"},
		{"upstreams", "envoy_tcp_downstream_cx", source + `,envoy_tcp_prefix=~"upstream.*"`,
			" by (consul_upstream_service,consul_upstream_datacenter,consul_upstream_namespace)", "_no_route"},
		{"downstreams", "envoy_cluster_upstream_cx", strings.ReplaceAll(source, "consul_source_", "consul_destination_"),
			" by (consul_source_service,consul_source_datacenter,consul_source_namespace)", "_connect_fail"},
	} {
		for what, name := range map[string]string{"connections": "_total", "received": "_rx_bytes_total", "sent": "_tx_bytes_total", "failures": group.failures} {
			q := "sum(rate(" + group.prefix + name + "{" + group.selector + "}[15m]))" + group.by
			if strings.HasSuffix(name, "bytes_total") {
				q = "8 * " + q
			}
			all[group.of+": "+what] = q
		}
	}
	return all
}

// topology is a mesh of web, api and db that a Prometheus watches.
type topology struct {
	*agenttest.Agent
	*prometheus
	toAPI, toDB, toNobody string
}

func newTopology(t *testing.T) *topology {
	t.Helper()
	p := newPrometheus(t)
	a := agenttest.Modern(t, agenttest.Options{HCL: []string{fmt.Sprintf(
		"ui_config {\n enabled = true\n metrics_provider = \"prometheus\"\n metrics_proxy { base_url = %q }\n}", p.front.URL)}})
	a.Intention("*", "*", "deny")
	for from, to := range map[string]string{"web": "api", "api": "db"} {
		a.Intention(from, to, "allow")
	}
	port := agenttest.FreePorts(t, 6)
	m := &topology{Agent: a, prometheus: p, toAPI: at(port + 3), toDB: at(port + 4), toNobody: at(port + 5)}
	p.start(
		sidecar{name: "db", app: portOf(app(t, "db")), port: port}.start(t, a),
		sidecar{name: "api", app: portOf(app(t, "api")), port: port + 1, upstreams: []api.Upstream{up("db", port+4), up("nobody", port+5)}}.start(t, a),
		sidecar{name: "web", app: 1, port: port + 2, upstreams: []api.Upstream{up("api", port+3)}}.start(t, a),
	)
	// What the agent has found healthy it tells its server when it finds time to.
	for address, name := range map[string]string{m.toAPI: "api", m.toDB: "db"} {
		reaches(t, address, name)
	}
	return m
}

// talk sends something along each line of the mesh, also where nobody answers.
func (m *topology) talk(t *testing.T) {
	t.Helper()
	for address, name := range map[string]string{m.toAPI: "api", m.toDB: "db"} {
		if err := answeredBy(address, name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := unanswered(m.toNobody); err != nil {
		t.Errorf("nobody: %v", err)
	}
}

// answered waits until each of the queries gives a number through the agent, and
// one above zero for something that has happened.
func (m *topology) answered(t *testing.T, queries map[string]string) {
	t.Helper()
	base := "http://" + m.HTTPAddr + "/v1/internal/ui/metrics-proxy"
	agenttest.Eventually(t, soon, func() error {
		m.talk(t)
		for _, what := range slices.Sorted(maps.Keys(queries)) {
			v, err := m.sum(base, queries[what])
			if err == nil && v <= 0 && what != "service: failures" {
				err = fmt.Errorf("%s: %v", queries[what], v)
			}
			if err != nil {
				return fmt.Errorf("%s: %w", what, err)
			}
		}
		return nil
	})
}

func TestOnARealAgentTheTopologyOfConsulsUIShowsTheProxies(t *testing.T) {
	agenttest.SkipShort(t)
	parallel(t)
	m := newTopology(t)
	m.talk(t)
	// An instance that its proxy has left: what fails for web is api's downstream's.
	m.Register(&api.AgentServiceRegistration{
		Kind: api.ServiceKindConnectProxy, Name: "api-left", Port: agenttest.FreePort(t), Address: "127.0.0.1",
		Proxy: &api.AgentServiceConnectProxyConfig{DestinationServiceName: "api"},
	})
	queries := topologyQueries("api", "dc1", "default")
	m.answered(t, queries)
	for _, q := range []string{ // what is known of the agent, and by no Envoy
		`connect_proxy_agent_requests_total{endpoint="authorize",result="ok"}`,
		`connect_proxy_agent_last_success_timestamp_seconds{watch="config"}`,
	} {
		if v, err := m.sum("http://"+m.address, "sum("+q+")"); err != nil || v <= 0 {
			t.Errorf("%s: %v, %v", q, v, err)
		}
	}

	t.Run("in a browser", func(t *testing.T) {
		page := chromium.Start(t)
		m.queries() // the test's own
		page.Open("http://"+m.HTTPAddr+"/ui/dc1/services/api/topology", 1280, false)
		page.Until(`document.querySelectorAll(".topology-container dl dd").length >= 12 && document.querySelector(".topology-container svg path") !== null`)
		shown := page.Text(".topology-container")
		for _, part := range []string{"web", "api", "db", "CR", "RX", "TX", "NR"} {
			if !strings.Contains(shown, part) {
				t.Errorf("the page lacks %s:\n%s", part, shown)
			}
		}
		asked := m.queries()
		for what, q := range queries {
			if !asked[q] {
				t.Errorf("the page did not send the query about %s:\n%s", what, q)
			}
		}
		m.shoot(t, page)
	})
}

// shoot keeps a picture of rates that are worth a look, where pictures are asked
// for.
func (m *topology) shoot(t *testing.T, page *chromium.Page) {
	t.Helper()
	if os.Getenv(chromium.Screenshots) == "" {
		return
	}
	talk := func(within time.Duration) {
		for start := time.Now(); time.Since(start) < within; {
			m.talk(t)
		}
	}
	talk(time.Minute)
	page.Eval("location.reload()")
	talk(5 * time.Second)
	page.Shoot("topology", false)
}
