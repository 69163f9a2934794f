package connectproxy

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"connect-proxy/config"
	"connect-proxy/connectproxy/adminapi"
	"connect-proxy/connectproxy/agenttest"
	"connect-proxy/connectproxy/agenttest/fakeagent"
	"connect-proxy/connectproxy/events"
	"connect-proxy/listener/listenertest"
)

// statsdSink keeps the lines that come to a port.
type statsdSink struct {
	conn net.PacketConn
	mu   sync.Mutex
	text strings.Builder
}

func newStatsdSink(t *testing.T) *statsdSink {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &statsdSink{conn: conn}
	var reading sync.WaitGroup
	reading.Go(func() {
		buf := make([]byte, 1<<16)
		for {
			n, _, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			s.mu.Lock()
			s.text.Write(buf[:n])
			s.mu.Unlock()
		}
	})
	t.Cleanup(func() { conn.Close(); reading.Wait() })
	return s
}

func (s *statsdSink) address() string { return s.conn.LocalAddr().String() }

// has waits for a line.
func (s *statsdSink) has(t *testing.T, line string) {
	t.Helper()
	defer func() {
		if t.Failed() {
			t.Log(s.text.String())
		}
	}()
	listenertest.Eventually(t, line, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return strings.Contains("\n"+s.text.String(), "\n"+line+"\n")
	})
}

func TestMetricsAreSentAsAnEnvoyAndAsTheBuiltInProxyWould(t *testing.T) {
	t.Parallel()
	agent := fakeagent.New(t, fakeagent.Options{})
	plain, tagged, builtIn := newStatsdSink(t), newStatsdSink(t), newStatsdSink(t)
	port, up := agenttest.FreePort(t), agenttest.FreePort(t)
	agent.Instance("db", port)
	c := serving("db", port, listenertest.NewEcho(t).Addr())
	c.Upstreams = append(c.Upstreams, to("db", up))
	c.Telemetry = config.Telemetry{
		StatsdURL: "udp://" + plain.address(), DogstatsdURL: "udp://" + tagged.address(), Tags: []string{"Colour=blue", "canary"}, FlushInterval: 50 * time.Millisecond,
		BuiltIn: config.BuiltInTelemetry{StatsdAddress: builtIn.address(), Prefix: "consul.proxy.db", FilterDefault: true, BlockedPrefixes: []string{"consul.proxy.db.inbound.rx"}},
	}
	history, page := events.New(), at(agenttest.FreePort(t))
	e := startEngine(t, agent, c, func(o *Options) {
		o.Logger.(hclog.InterceptLogger).RegisterSink(history)
		o.Events, o.Admin = history, page
	}).ready()
	dial(t, up).echo("6 byte")

	plain.has(t, "envoy.tcp.upstream.db.default.default.dc1.downstream_cx_rx_bytes_total:7|c")
	plain.has(t, "envoy.cluster.local_app.upstream_cx_active:1|g")
	tagged.has(t, "envoy.cluster.upstream_cx_active:1|g|#local_cluster:db,consul.source.service:db,consul.source.namespace:default,consul.source.partition:default,"+
		"consul.source.datacenter:dc1,colour:blue,canary:1,envoy.cluster_name:local_app")
	host, _ := os.Hostname()
	builtIn.has(t, "consul.proxy.db."+host+".upstream.conns.db.service.db:1|g")
	builtIn.has(t, "consul.proxy.db.upstream.tx_bytes.db.service.db:7|c")
	if builtIn.mu.Lock(); strings.Contains(builtIn.text.String(), "inbound.rx_bytes") {
		t.Error("what is blocked was sent")
	}
	builtIn.mu.Unlock()

	// A receiver that has gone is an event, and the next configuration ends it.
	plain.conn.Close()
	listenertest.Eventually(t, "it is said", func() bool { return strings.Contains(e.log.String(), "metrics cannot be sent: to=envoy_statsd_url") })
	listenertest.Eventually(t, "it is an event", func() bool {
		return slices.ContainsFunc(eventsOf(t, page), func(event events.Event) bool {
			return event.Level == "warn" && event.Message == "metrics cannot be sent" && event.Fields["to"] == "envoy_statsd_url" && event.Fields["address"] == plain.address()
		})
	})
	c.Telemetry = config.Telemetry{DogstatsdURL: "$NOT_SET_ANYWHERE"}
	e.apply(c)
	listenertest.Eventually(t, "a warning", func() bool {
		w := e.Status().Config.Warnings
		return len(w) == 1 && strings.Contains(w[0], "the environment of this proxy has no NOT_SET_ANYWHERE")
	})
	dial(t, up).echo("traffic does not notice")
}

// eventsOf are those that the admin pages at an address show.
func eventsOf(t *testing.T, address string) []events.Event {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get("http://" + address + "/events")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var page adminapi.Events
	if err := json.NewDecoder(resp.Body).Decode(&page); err != nil {
		t.Fatal(err)
	}
	return page.Events
}

func TestAFurtherPageServesMetricsAloneOnceItsPortIsFree(t *testing.T) {
	t.Parallel()
	agent := fakeagent.New(t, fakeagent.Options{})
	taken, err := net.Listen("tcp", at(agenttest.FreePort(t)))
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	port := agenttest.FreePort(t)
	c := serving("db", port, listenertest.NewEcho(t).Addr())
	c.Telemetry.PrometheusAddress = taken.Addr().String()
	e := startEngine(t, agent, c).ready()
	listenertest.Eventually(t, "it is said", func() bool {
		return strings.Contains(e.log.String(), "cannot listen; the proxy goes on without: listener=envoy_prometheus_bind_addr")
	})
	taken.Close()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	get := func(path string) (int, string) {
		resp, err := client.Get("http://" + taken.Addr().String() + path)
		if err != nil {
			return 0, ""
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, string(body)
	}
	listenertest.Eventually(t, "the page", func() bool {
		code, text := get("/metrics")
		return code == http.StatusOK && strings.Contains(text, "connect_proxy_ready 1")
	})
	for _, path := range []string{"/", "/connections", "/config", "/debug/pprof/", "/ready"} {
		if code, text := get(path); code != http.StatusNotFound {
			t.Errorf("%s: %d %.80s", path, code, text)
		}
	}
}
