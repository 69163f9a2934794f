package connectproxy

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"connect-proxy/connectproxy/agenttest"
	"connect-proxy/connectproxy/agenttest/fakeagent"
	"connect-proxy/listener/listenertest"
)

// One proxy serves db and calls it, so that it is on both sides of a connection,
// which stays open.
func TestMetricsShowBytesOfOpenConnectionsByCallerAndDestination(t *testing.T) {
	t.Parallel()
	agent := fakeagent.New(t, fakeagent.Options{})
	port, up, admin := agenttest.FreePort(t), agenttest.FreePort(t), agenttest.FreePort(t)
	agent.Instance("db", port)
	c := serving("db", port, listenertest.NewEcho(t).Addr())
	c.Upstreams = append(c.Upstreams, to("db", up))
	startEngine(t, agent, c, func(o *Options) { o.Admin, o.Version = at(admin), "1.2.3" }).ready()
	dial(t, up).echo("6 byte")

	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	var text string
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(text)
		}
	})
	for _, want := range []string{
		`connect_proxy_build_info{`, `version="1.2.3"`, "connect_proxy_ready 1",
		`connect_proxy_connections_active{datacenter="dc1",destination="db",direction="inbound",source="db"} 1`,
		`connect_proxy_connections_active{datacenter="dc1",destination="db",direction="outbound",source="db"} 1`,
		`connect_proxy_transferred_bytes_total{datacenter="dc1",destination="db",direction="inbound",flow="to_destination",source="db"} 7`,
		`connect_proxy_transferred_bytes_total{datacenter="dc1",destination="db",direction="outbound",flow="to_source",source="db"} 7`,
		`connect_proxy_authorizations_total{decision="allowed",origin="agent",source="db"} 1`,
		`connect_proxy_certificate_changes_total{kind="leaf",result="ok"} 1`, `connect_proxy_certificate_changes_total{kind="root",result="error"} 0`,
		`connect_proxy_dial_attempts_total{destination="db",direction="outbound",result="ok"} 1`,
		`connect_proxy_upstream_instances{destination="db",state="healthy"} 1`,
		`connect_proxy_certificate_expiry_timestamp_seconds{kind="leaf"}`, `connect_proxy_certificate_expiry_timestamp_seconds{kind="root"}`,
		`connect_proxy_agent_last_success_timestamp_seconds{watch="intentions"}`,
		`connect_proxy_handshakes_total{direction="inbound",result="ok",resumed="false",version="1.3"} 1`,
		`connect_proxy_handshakes_total{direction="outbound",result="ok",resumed="false",version="1.3"} 1`,
		`connect_proxy_connections_pending{direction="inbound",stage="handshake"} 0`, `connect_proxy_accept_errors_total{direction="outbound"} 0`,
		`consul_destination_service="db"`, `envoy_tcp_prefix="public_listener"`,
	} {
		listenertest.Eventually(t, want, func() bool {
			resp, err := client.Get("http://" + at(admin) + "/metrics")
			if err != nil {
				return false
			}
			defer resp.Body.Close()
			body, _ := io.ReadAll(resp.Body)
			text = string(body)
			return strings.Contains(text, want)
		})
	}
}

func TestEventsAreCountedByWhatBecomesOfThem(t *testing.T) {
	t.Parallel()
	agent := fakeagent.New(t, fakeagent.Options{})
	port := agenttest.FreePorts(t, 1)
	c := microAt("shop", port, "*")
	c.Micro.Topics = []string{"orders"}
	e := startEngine(t, agent, c).ready()
	for topic, want := range map[string]int{"orders": 200, "secret": 403} {
		if status, body := request(t, http.MethodPost, port, "/broker?topic="+topic, "x"); status != want {
			t.Fatalf("%s: %d %s", topic, status, body)
		}
	}
	events := e.facts().Events["application"]
	if events["nobody"] != 1 || events["refused"] != 1 {
		t.Errorf("counted: %v", events)
	}
}
