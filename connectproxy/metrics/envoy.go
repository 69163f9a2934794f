package metrics

import (
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"connect-proxy/listener"
)

// cluster is a destination as Envoy names it; the zero value is the local
// application.
type cluster peerLabels

// clusterTally is what is counted for a cluster.
type clusterTally struct {
	total, failed, timedOut, overflown float64
	active, received, sent             float64
	known                              bool // instances are
	instances, healthy                 float64
}

// listenerTally is what is counted on the side that accepts.
type listenerTally struct{ total, noRoute, received, sent float64 }

func (l *listenerTally) add(n *tally) {
	l.total += float64(n.opened.Load())
	for _, r := range reasons {
		if r != listener.ReasonSilent { // a health check is no connection
			l.total += float64(n.closedUnopened[r].Load())
		}
	}
	l.noRoute += float64(n.closedUnopened[listener.ReasonNoEndpoints].Load())
	l.received += float64(n.bytes.ToUpstream())
	l.sent += float64(n.bytes.ToClient())
}

func (c *clusterTally) add(n *tally) {
	c.total += float64(n.opened.Load())
	c.active += float64(n.active.Load())
	c.overflown += float64(n.closedUnopened[listener.ReasonLimit].Load())
	c.sent += float64(n.bytes.ToUpstream())
	c.received += float64(n.bytes.ToClient())
}

// Envoy returns the stats of an Envoy that Consul has configured, as far as there
// is something to count; docs/metrics.md has the list, and from which versions it
// is taken. Bytes of a listener are received from and sent to its clients, those
// of a cluster from and to the instances. It is safe for concurrent use.
func (m *Metrics) Envoy() []Sample {
	f, set := m.o.Facts(), m.o.Settings()
	e := &envoyStats{facts: &f, self: f.self(), clusters: map[cluster]*clusterTally{}, upstreams: map[Destination]*listenerTally{}}
	e.base = []Tag{
		{"local_cluster", f.Service},
		{"consul.source.service", f.Service},
		{"consul.source.namespace", e.self.namespace},
		{"consul.source.partition", e.self.partition},
		{"consul.source.datacenter", e.self.datacenter},
	}
	for _, t := range set.Tags {
		if !slices.ContainsFunc(e.base, func(b Tag) bool { return b.Name == t.Name }) {
			e.base = append(e.base, t)
		}
	}
	e.count(m.traffic.snapshot())
	m.judged.each(func(_ peerLabels, d Verdict, _ Origin, n uint64) {
		switch d {
		case Allowed:
			e.allowed += float64(n)
		case Denied:
			e.denied += float64(n)
		}
	})
	e.write()
	return e.samples
}

type envoyStats struct {
	facts *Facts
	self  peerLabels
	base  []Tag

	public    listenerTally
	upstreams map[Destination]*listenerTally
	clusters  map[cluster]*clusterTally
	allowed   float64
	denied    float64

	samples []Sample
}

func (e *envoyStats) count(traffic map[series]*tally) {
	local := e.cluster(cluster{})
	for s, n := range traffic {
		if s.direction == Inbound {
			e.public.add(n)
			local.add(n)
			failed := float64(n.closedUnopened[listener.ReasonDialFailed].Load())
			timedOut := float64(n.closedUnopened[listener.ReasonDialTimeout].Load())
			local.timedOut += timedOut
			local.failed += failed + timedOut
			local.total += failed + timedOut
			continue
		}
		e.upstream(s.to).add(n)
		to := cluster(s.peer)
		if s.peer.service == "" {
			to = e.configured(s.to)
		}
		e.cluster(to).add(n)
	}
	for _, u := range e.facts.Upstreams {
		e.upstream(u.Destination) // also one that nobody has used
		c := e.cluster(e.configured(u.Destination))
		c.known = true
		c.healthy += float64(u.Healthy)
		c.instances += float64(u.Healthy + u.SetAside)
		c.timedOut += float64(u.Failures["timeout"])
		for _, n := range u.Failures {
			c.failed += float64(n)
			c.total += float64(n)
		}
	}
}

func (e *envoyStats) upstream(d Destination) *listenerTally {
	p := e.filled(d)
	d = Destination{Service: p.service, Namespace: p.namespace, Partition: p.partition, Datacenter: p.datacenter}
	if e.upstreams[d] == nil {
		e.upstreams[d] = new(listenerTally)
	}
	return e.upstreams[d]
}

func (e *envoyStats) cluster(c cluster) *clusterTally {
	if e.clusters[c] == nil {
		e.clusters[c] = new(clusterTally)
	}
	return e.clusters[c]
}

func (e *envoyStats) configured(d Destination) cluster { return cluster(e.filled(d)) }

// filled has the proxy's own names where the destination has none.
func (e *envoyStats) filled(d Destination) peerLabels {
	return peerLabels{
		service:     d.Service,
		namespace:   or(d.Namespace, e.self.namespace),
		partition:   or(d.Partition, e.self.partition),
		datacenter:  or(d.Datacenter, e.self.datacenter),
		trustDomain: e.self.trustDomain,
	}
}

func (e *envoyStats) write() {
	e.listener("public_listener", "public_listener", nil, &e.public)
	for d, l := range e.upstreams {
		e.listener("upstream", strings.Join([]string{"upstream", d.Service, d.Namespace, d.Partition, d.Datacenter}, "."), []Tag{
			{"consul.upstream.service", d.Service},
			{"consul.upstream.namespace", d.Namespace},
			{"consul.upstream.partition", d.Partition},
			{"consul.upstream.datacenter", d.Datacenter},
		}, l)
	}
	for c, n := range e.clusters {
		e.writeCluster(c, n)
	}
	for _, l := range e.facts.Listeners {
		if !l.Retired {
			address := strings.ReplaceAll(l.Address, ":", "_")
			tags := []Tag{{"envoy.listener_address", address}}
			e.add("listener", address, "downstream_cx_active", tags, true, float64(l.Live))
			e.add("listener", address, "downstream_cx_overflow", tags, false, float64(l.OverLimit))
		}
	}
	rbac := []Tag{{"envoy.rbac_prefix", "connect_authz"}}
	e.add("rbac", "", "allowed", rbac, false, e.allowed)
	e.add("rbac", "", "denied", rbac, false, e.denied)
	e.add("server", "", "live", nil, true, truth(!e.facts.Draining))
	e.add("server", "", "uptime", nil, true, time.Since(e.facts.Started).Truncate(time.Second).Seconds())
}

// listener writes the stats of the TCP proxy filter.
func (e *envoyStats) listener(prefix, full string, tags []Tag, l *listenerTally) {
	tags = append([]Tag{{"envoy.tcp_prefix", prefix}}, tags...)
	for _, s := range []struct {
		name  string
		gauge bool
		value float64
	}{
		{"downstream_cx_total", false, l.total},
		{"downstream_cx_no_route", false, l.noRoute},
		{"downstream_cx_rx_bytes_total", false, l.received},
		{"downstream_cx_tx_bytes_total", false, l.sent},
		{"downstream_cx_rx_bytes_buffered", true, 0}, // what is read is written before more is
		{"downstream_cx_tx_bytes_buffered", true, 0},
	} {
		e.add("tcp", full, s.name, tags, s.gauge, s.value)
	}
}

func (e *envoyStats) writeCluster(c cluster, n *clusterTally) {
	full, tags := c.names()
	add := func(name string, gauge bool, v float64) { e.add("cluster", full, name, tags, gauge, v) }
	add("upstream_cx_total", false, n.total)
	add("upstream_cx_connect_fail", false, n.failed)
	add("upstream_cx_connect_timeout", false, n.timedOut)
	add("upstream_cx_overflow", false, n.overflown)
	add("upstream_cx_rx_bytes_total", false, n.received)
	add("upstream_cx_tx_bytes_total", false, n.sent)
	add("upstream_cx_active", true, n.active)
	if n.known {
		add("membership_total", true, n.instances)
		add("membership_healthy", true, n.healthy)
	}
}

// names are a cluster's name, and what Consul has Envoy cut out of it (agent/xds and
// command/connect/envoy/bootstrap_config.go). The default partition is not in it.
func (c cluster) names() (full string, tags []Tag) {
	if c == (cluster{}) {
		return "local_app", []Tag{{"envoy.cluster_name", "local_app"}}
	}
	partition, routing, target := "", "internal", c.service+"."+c.namespace+"."+c.datacenter
	if c.partition != "" && c.partition != defaultName {
		partition, routing = c.partition, "internal-v1"
		target = c.service + "." + c.namespace + "." + c.partition + "." + c.datacenter
	}
	trustDomain := strings.TrimSuffix(c.trustDomain, ".consul")
	fullTarget := target + "." + routing + "." + trustDomain
	return fullTarget + ".consul", []Tag{
		{"envoy.cluster_name", c.service},
		{"consul.destination.custom_hash", ""},
		{"consul.destination.service_subset", ""},
		{"consul.destination.service", c.service},
		{"consul.destination.namespace", c.namespace},
		{"consul.destination.partition", partition},
		{"consul.destination.datacenter", c.datacenter},
		{"consul.destination.routing_type", routing},
		{"consul.destination.trust_domain", trustDomain},
		{"consul.destination.target", target},
		{"consul.destination.full_target", fullTarget},
	}
}

// add adds a sample; of is what stands between scope and name where nothing is
// cut out.
func (e *envoyStats) add(scope, of, name string, tags []Tag, gauge bool, v float64) {
	full := scope + "." + name
	if of != "" {
		full = scope + "." + of + "." + name
	}
	e.samples = append(e.samples, Sample{
		Name: scope + "." + name, Full: full, Tags: append(e.base[:len(e.base):len(e.base)], tags...), Gauge: gauge, Value: v,
	})
}

// envoy collects the samples under the names that Envoy gives Prometheus.
type envoy struct{ m *Metrics }

var _ prometheus.Collector = envoy{}

// Describe sends nothing: the labels follow the settings.
func (envoy) Describe(chan<- *prometheus.Desc) {}

func (e envoy) Collect(to chan<- prometheus.Metric) {
	if e.m.o.Settings().Names == NamesNative {
		return
	}
	for _, s := range e.m.Envoy() {
		typ := prometheus.CounterValue
		if s.Gauge {
			typ = prometheus.GaugeValue
		}
		names, values := make([]string, 0, len(s.Tags)), make([]string, 0, len(s.Tags))
		for _, t := range s.Tags {
			if name := underscored(t.Name); !slices.Contains(names, name) {
				names, values = append(names, name), append(values, t.Value)
			}
		}
		desc := prometheus.NewDesc("envoy_"+underscored(s.Name), "As Envoy counts it; see the documentation of this proxy.", names, nil)
		metric, err := prometheus.NewConstMetric(desc, typ, s.Value, values...)
		if err != nil {
			metric = prometheus.NewInvalidMetric(desc, err)
		}
		to <- metric
	}
}

// underscored is a name as Prometheus takes it.
func underscored(name string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' {
			return r
		}
		return '_'
	}, name)
}
