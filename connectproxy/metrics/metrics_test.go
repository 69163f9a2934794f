package metrics

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"
	"go.uber.org/goleak"

	"connect-proxy/listener"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const td = "11111111-2222-3333-4444-555555555555.consul"

func spiffe(service string) string { return "spiffe://" + td + "/ns/default/dc/dc1/svc/" + service }

func sampleFacts() Facts {
	at := time.Unix(1_800_000_000, 0)
	return Facts{
		Service: "web", SpiffeID: spiffe("web"), Started: at, Ready: true,
		ConfigChanged: at, LeafNotBefore: at, LeafNotAfter: at, RootsNotAfter: at,
		Certificates:  map[string]CertificateFacts{"leaf": {Changes: 2, Errors: 1}},
		AgentRequests: map[string]map[string]uint64{"leaf": {"ok": 7, "denied": 1}},
		Events:        map[string]map[string]uint64{"application": {"taken": 5, "refused": 1}},
		EventsLost:    map[string]map[string]uint64{"service": {"queue_full": 2}},

		Watches:   map[string]time.Time{"leaf": at},
		Listeners: []ListenerFacts{{Name: "public", Address: "127.0.0.1:8443", Direction: Inbound, Up: true, Live: 6, Handshakes: 2, Authorizations: 1, OverLimit: 4}},
		Upstreams: []UpstreamFacts{{Destination: Destination{Service: "db"}, Connected: 1, Failures: map[string]uint64{"refused": 4, "timeout": 1}, Healthy: 2, SetAside: 1, SetAsideFor: map[string]uint64{"refused": 5}}},
	}
}

// counted is a proxy with one connection in each direction, open, and one denied.
func counted(names Names) *Metrics {
	m := New(Options{Version: "1.2.3", Facts: sampleFacts, Settings: func() Settings { return Settings{Names: names} }})
	in, out := m.Listener(Inbound, Destination{Service: "web"}), m.Listener(Outbound, Destination{Service: "db"})
	api := Opened{ID: 1, Peer: spiffe("api"), TLSVersion: 0x304, Handshake: time.Millisecond, Dial: time.Millisecond}
	in.Opened(api)
	db := Opened{ID: 2, Peer: spiffe("db"), Dial: time.Millisecond}
	out.Opened(db)
	in.Closed(Ended{Opened: Opened{ID: 3, Peer: spiffe("evil")}, Reason: listener.ReasonDenied})
	gone := Opened{ID: 4, Peer: spiffe("api")}
	in.Opened(gone)
	in.Closed(Ended{Opened: gone, Reason: listener.ReasonIntentionRevoked, Duration: time.Second})
	m.Judged(api.Peer, Allowed, OriginAgent)
	m.Judged(api.Peer, Allowed, OriginCache)
	m.Judged(spiffe("evil"), Denied, OriginStale)
	m.Dialled(Opened{TLSVersion: 0x304, Resumed: true, Handshake: time.Millisecond}, nil)
	m.Dialled(Opened{}, errors.New("bad certificate"))
	m.Dialled(Opened{}, fmt.Errorf("handshake: %w", context.DeadlineExceeded))
	m.Dialled(Opened{}, context.Canceled)
	in.AcceptFailed(errors.New("too many open files"))
	return m
}

func gathered(t *testing.T, m *Metrics) map[string]*dto.MetricFamily {
	t.Helper()
	got, err := m.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]*dto.MetricFamily{}
	for _, f := range got {
		all[f.GetName()] = f
	}
	return all
}

func TestTheDocumentedTableAndTheRegistryAreEqual(t *testing.T) {
	text, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]string{}
	for _, m := range regexp.MustCompile("(?m)^\\| `(connect_proxy_\\w+|envoy_\\w+)` \\| (\\w+) \\| ([^|]*) \\|").FindAllStringSubmatch(string(text), -1) {
		listed[m[1]] = strings.TrimSpace(m[2] + " " + strings.ReplaceAll(m[3], "`", ""))
	}
	byName := map[string]*family{}
	for _, f := range families {
		byName[f.Name] = f
	}
	for name, f := range gathered(t, counted(NamesBoth)) {
		if !strings.HasPrefix(name, namespace) && !strings.HasPrefix(name, "envoy_") {
			continue
		}
		row, ok := listed[name]
		typ := strings.ToLower(f.GetType().String())
		switch own := byName[name]; {
		case !ok:
			t.Errorf("%s is served and not in docs/metrics.md", name)
		case own != nil && row != strings.TrimSpace(typ+" "+strings.Join(own.Labels, ", ")):
			t.Errorf("docs/metrics.md has %s as %q, it is %s %q", name, row, typ, own.Labels)
		case !strings.HasPrefix(row, typ):
			t.Errorf("docs/metrics.md has %s as %q, it is a %s", name, row, typ)
		}
		delete(listed, name)
	}
	for name := range listed {
		t.Errorf("docs/metrics.md lists %s, which is not served", name)
	}
}

func TestConnectionsAreCountedByCallerDestinationAndReason(t *testing.T) {
	m := counted(NamesNative)
	want := `
# HELP connect_proxy_connections_closed_total Accepted connections that ended, relayed or not, by reason.
# TYPE connect_proxy_connections_closed_total counter
connect_proxy_connections_closed_total{datacenter="dc1",destination="web",direction="inbound",reason="denied",source="evil"} 1
connect_proxy_connections_closed_total{datacenter="dc1",destination="web",direction="inbound",reason="intention_revoked",source="api"} 1
# HELP connect_proxy_connections_active Connections that are relayed.
# TYPE connect_proxy_connections_active gauge
connect_proxy_connections_active{datacenter="dc1",destination="db",direction="outbound",source="web"} 1
connect_proxy_connections_active{datacenter="dc1",destination="web",direction="inbound",source="api"} 1
connect_proxy_connections_active{datacenter="dc1",destination="web",direction="inbound",source="evil"} 0
# HELP connect_proxy_authorizations_revoked_total Open connections that were ended by a change of intentions.
# TYPE connect_proxy_authorizations_revoked_total counter
connect_proxy_authorizations_revoked_total{source="api"} 1
connect_proxy_authorizations_revoked_total{source="evil"} 0
`
	if err := testutil.GatherAndCompare(m.registry, strings.NewReader(want), "connect_proxy_connections_closed_total",
		"connect_proxy_connections_active", "connect_proxy_authorizations_revoked_total"); err != nil {
		t.Error(err)
	}
}

func TestWhatHappensBesideConnectionsIsCountedByItsOutcome(t *testing.T) {
	m := counted(NamesBoth)
	want := `
# HELP connect_proxy_accept_errors_total Attempts to accept a connection that failed, for want of descriptors for example.
# TYPE connect_proxy_accept_errors_total counter
connect_proxy_accept_errors_total{direction="inbound"} 1
connect_proxy_accept_errors_total{direction="outbound"} 0
# HELP connect_proxy_agent_requests_total Questions to the agent by what they are about and what they came to.
# TYPE connect_proxy_agent_requests_total counter
connect_proxy_agent_requests_total{endpoint="leaf",result="denied"} 1
connect_proxy_agent_requests_total{endpoint="leaf",result="ok"} 7
# HELP connect_proxy_authorizations_total Decisions on callers that have proved who they are.
# TYPE connect_proxy_authorizations_total counter
connect_proxy_authorizations_total{decision="allowed",origin="agent",source="api"} 1
connect_proxy_authorizations_total{decision="allowed",origin="cache",source="api"} 1
connect_proxy_authorizations_total{decision="denied",origin="stale",source="evil"} 1
# HELP connect_proxy_certificate_changes_total Certificates and sets of roots that the agent gave, those that could not be used included.
# TYPE connect_proxy_certificate_changes_total counter
connect_proxy_certificate_changes_total{kind="leaf",result="error"} 1
connect_proxy_certificate_changes_total{kind="leaf",result="ok"} 2
# HELP connect_proxy_connections_pending Connections that are accepted and not relayed yet, by what they wait for.
# TYPE connect_proxy_connections_pending gauge
connect_proxy_connections_pending{direction="inbound",stage="authorize"} 1
connect_proxy_connections_pending{direction="inbound",stage="dial"} 2
connect_proxy_connections_pending{direction="inbound",stage="handshake"} 2
connect_proxy_connections_pending{direction="outbound",stage="dial"} 0
# HELP connect_proxy_handshakes_total TLS handshakes with clients, and with instances of destinations, by outcome.
# TYPE connect_proxy_handshakes_total counter
connect_proxy_handshakes_total{direction="inbound",result="ok",resumed="false",version=""} 2
connect_proxy_handshakes_total{direction="inbound",result="ok",resumed="false",version="1.3"} 1
connect_proxy_handshakes_total{direction="outbound",result="failed",resumed="false",version=""} 1
connect_proxy_handshakes_total{direction="outbound",result="ok",resumed="true",version="1.3"} 1
connect_proxy_handshakes_total{direction="outbound",result="timeout",resumed="false",version=""} 1
# HELP connect_proxy_micro_events_lost_total Events of Micro that somebody who subscribes did not get, once for each of them.
# TYPE connect_proxy_micro_events_lost_total counter
connect_proxy_micro_events_lost_total{reason="queue_full",subscriber="service"} 2
# HELP connect_proxy_micro_events_total Events of Micro that applications published and other proxies brought, by what became of them.
# TYPE connect_proxy_micro_events_total counter
connect_proxy_micro_events_total{origin="application",result="refused"} 1
connect_proxy_micro_events_total{origin="application",result="taken"} 5
# HELP connect_proxy_upstream_instances_set_aside_total How often an instance of a destination was set aside, by the last attempt's result.
# TYPE connect_proxy_upstream_instances_set_aside_total counter
connect_proxy_upstream_instances_set_aside_total{destination="db",result="refused"} 5
`
	if err := testutil.GatherAndCompare(m.registry, strings.NewReader(want), acceptErrors.Name, agentRequests.Name, authorizations.Name,
		certificateChanges.Name, connectionsPending.Name, handshakes.Name, eventsCame.Name, eventsLost.Name, upstreamSetAside.Name); err != nil {
		t.Error(err)
	}
}

func TestEnvoysNamesCarryConsulsLabelsAndCanBeTurnedOff(t *testing.T) {
	found := func(m *Metrics, name string, labels map[string]string) (float64, bool) {
		for _, s := range gathered(t, m)[name].GetMetric() {
			have := map[string]string{}
			for _, l := range s.GetLabel() {
				have[l.GetName()] = l.GetValue()
			}
			match := true
			for k, v := range labels {
				match = match && have[k] == v
			}
			if match {
				return s.GetCounter().GetValue() + s.GetGauge().GetValue(), true
			}
		}
		return 0, false
	}
	m := counted(NamesBoth)
	for _, c := range []struct {
		name   string
		labels map[string]string
		want   float64
	}{
		{"envoy_tcp_downstream_cx_total", map[string]string{"consul_source_service": "web", "consul_source_datacenter": "dc1", "consul_source_namespace": "default", "envoy_tcp_prefix": "public_listener"}, 3},
		{"envoy_tcp_downstream_cx_total", map[string]string{"consul_source_service": "web", "envoy_tcp_prefix": "upstream", "consul_upstream_service": "db", "consul_upstream_datacenter": "dc1", "consul_upstream_namespace": "default"}, 1},
		{"envoy_cluster_upstream_cx_connect_fail", map[string]string{"consul_destination_service": "db", "consul_destination_datacenter": "dc1", "consul_destination_namespace": "default", "consul_source_service": "web"}, 5},
		{"envoy_cluster_upstream_cx_total", map[string]string{"consul_destination_service": "db"}, 6},
		{"envoy_listener_downstream_cx_overflow", map[string]string{"envoy_listener_address": "127.0.0.1_8443"}, 4},
		{"envoy_rbac_denied", map[string]string{"envoy_rbac_prefix": "connect_authz"}, 1},
	} {
		if got, ok := found(m, c.name, c.labels); !ok || got != c.want {
			t.Errorf("%s%v is %v (there: %t), want %v", c.name, c.labels, got, ok, c.want)
		}
	}
	if _, ok := found(counted(NamesNative), "envoy_tcp_downstream_cx_total", nil); ok {
		t.Error("Envoy's names are there though they are turned off")
	}
	if _, ok := found(counted(NamesEnvoy), "connect_proxy_connections_opened_total", nil); ok {
		t.Error("our own names are there though they are turned off")
	}
}

func TestCallersWithoutEndAreCountedAsOthers(t *testing.T) {
	m := New(Options{Facts: sampleFacts})
	l := m.Listener(Inbound, Destination{Service: "web"})
	for i := range 3 * maxPeers {
		c := Opened{ID: uint64(i), Peer: spiffe(fmt.Sprint("s", i))}
		l.Opened(c)
		l.Closed(Ended{Opened: c, Reason: listener.ReasonClosed})
	}
	opened := gathered(t, m)["connect_proxy_connections_opened_total"].GetMetric()
	var total, other float64
	for _, s := range opened {
		total += s.GetCounter().GetValue()
		for _, label := range s.GetLabel() {
			if label.GetName() == "source" && label.GetValue() == otherPeer {
				other += s.GetCounter().GetValue()
			}
		}
	}
	if len(opened) > maxPeers+1 || total != 3*maxPeers || other < maxPeers || len(m.traffic.open) != 0 {
		t.Errorf("%d series, %v connections, %v of others, %d still open", len(opened), total, other, len(m.traffic.open))
	}
}

func TestAScrapeIsAnsweredOverHTTP(t *testing.T) {
	w := httptest.NewRecorder()
	counted(NamesBoth).Handler(nil).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if w.Code != 200 || !strings.Contains(w.Body.String(), "connect_proxy_ready 1") {
		t.Errorf("%d: %.200s", w.Code, w.Body)
	}
}
