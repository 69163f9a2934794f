package metrics

import (
	"crypto/fips140"
	"runtime"
	"runtime/debug"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
)

// native collects the families that are not vectors of the client library.
type native struct{ m *Metrics }

var _ prometheus.Collector = native{}

func (n native) Describe(to chan<- *prometheus.Desc) {
	for _, f := range families {
		switch f {
		case handshakes, handshakeDuration, dialDuration, connectionDuration: // vectors
		default:
			to <- f.desc
		}
	}
}

func (n native) Collect(to chan<- prometheus.Metric) {
	facts := n.m.o.Facts()
	c := &collection{to: to, m: n.m, facts: &facts, self: facts.self(), traffic: n.m.traffic.snapshot(), version: n.m.o.Version}
	c.silent = n.m.o.Settings().Names == NamesEnvoy
	c.about()
	c.connections()
	c.authorizations()
	c.attempts()
	c.control()
}

// collection is one scrape.
type collection struct {
	to      chan<- prometheus.Metric
	m       *Metrics
	facts   *Facts
	self    peerLabels
	traffic map[series]*tally
	version string
	silent  bool // about connections
}

func (c *collection) add(f *family, v float64, labels ...string) {
	if c.silent && trafficFamilies[f] {
		return
	}
	typ := prometheus.GaugeValue
	if f.Type == "counter" {
		typ = prometheus.CounterValue
	}
	m, err := prometheus.NewConstMetric(f.desc, typ, v, labels...)
	if err != nil { // a label that is no UTF-8
		m = prometheus.NewInvalidMetric(f.desc, err)
	}
	c.to <- m
}

// labels are those of a traffic family, in its order.
func (c *collection) labels(s series) []string {
	return []string{string(s.direction), s.source(c.self), s.destination(), s.peer.datacenter}
}

// connections adds up series that have the same labels.
func (c *collection) connections() {
	opened, active := sums{}, sums{}
	closed, bytes := sums{}, sums{}
	relayed := map[Direction]int{}
	for s, n := range c.traffic {
		l := c.labels(s)
		opened.add(float64(n.opened.Load()), l...)
		active.add(float64(n.active.Load()), l...)
		relayed[s.direction] += int(n.active.Load())
		for _, r := range reasons {
			if v := n.closed[r].Load(); v > 0 {
				closed.add(float64(v), append(l[:4:4], r.String())...)
			}
		}
		bytes.add(float64(n.bytes.ToUpstream()), append(l[:4:4], "to_destination")...)
		bytes.add(float64(n.bytes.ToClient()), append(l[:4:4], "to_source")...)
	}
	c.sums(connectionsOpened, opened)
	c.sums(connectionsActive, active)
	c.sums(connectionsClosed, closed)
	c.sums(transferredBytes, bytes)

	c.listeners(relayed)
}

func (c *collection) authorizations() {
	made, revoked := sums{}, sums{}
	c.m.judged.each(func(p peerLabels, d Verdict, o Origin, n uint64) {
		made.add(float64(n), p.name(), decisionNames[d], originNames[o])
	})
	for s, n := range c.traffic {
		if s.direction == Inbound && s.peer.service != "" {
			revoked.add(float64(n.revoked.Load()), s.peer.name())
		}
	}
	c.sums(authorizations, made)
	c.sums(authorizationsRevoked, revoked)
}

func (c *collection) sums(f *family, all sums) {
	for _, s := range all {
		c.add(f, s.value, s.labels...)
	}
}

// sums are values by their labels.
type sums map[string]*sum

type sum struct {
	labels []string
	value  float64
}

func (s sums) add(v float64, labels ...string) {
	key := ""
	for _, l := range labels {
		key += l + "\x00"
	}
	if s[key] == nil {
		s[key] = &sum{labels: labels}
	}
	s[key].value += v
}

func truth(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

// buildLabels are the values of buildInfo's labels.
func buildLabels(version string) []string {
	revision := ""
	if built, ok := debug.ReadBuildInfo(); ok {
		for _, s := range built.Settings {
			if s.Key == "vcs.revision" {
				revision = s.Value
			}
		}
	}
	return []string{version, revision, runtime.Version(), strconv.FormatBool(fips140.Enabled())}
}

// gated is a collector of families that Names turns off.
type gated struct {
	m *Metrics
	prometheus.Collector
}

func (g gated) Collect(to chan<- prometheus.Metric) {
	if g.m.o.Settings().Names != NamesEnvoy {
		g.Collector.Collect(to)
	}
}
