package metrics

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

const (
	// gatherTimeout bounds how long an answer may take to be made, writeTimeout
	// how long a scraper may take to read it.
	gatherTimeout = 5 * time.Second
	writeTimeout  = 10 * time.Second
	// maxScrapes is how many are answered at a time: of this machine, and of all
	// others. One of those has maxScrapesOfClient, those that wait among them.
	maxScrapes, maxScrapesOfClient = 4, 2
	// scrapeTurn is how long an answer has its place while others wait, and patience
	// how long they do.
	scrapeTurn, patience = 2 * time.Second, 8 * time.Second
)

// Names say under which names connections are shown. Empty means NamesBoth.
type Names string

const (
	// NamesNative are this program's.
	NamesNative Names = "native"
	// NamesEnvoy are Envoy's, with the tags that Consul's configuration has it
	// take out of its names (Consul's agent/xds and command/connect/envoy).
	NamesEnvoy Names = "envoy"
	// NamesBoth are both. It is the default.
	NamesBoth Names = "both"
)

// Options describe a Metrics.
type Options struct {
	// Version is the program's, a label; it may be empty.
	Version string
	// Facts is asked at every scrape and for every list of samples. It must be
	// safe for concurrent use and not block. Required.
	Facts func() Facts
	// Settings are asked likewise; nil means the zero value.
	Settings func() Settings
}

// Settings are what may change while the proxy runs.
type Settings struct {
	// Names is empty for NamesBoth.
	Names Names
	// Tags are added to every series that has Envoy's name. Order counts where
	// a name comes twice: the first one holds.
	Tags []Tag
}

// Tag is a label of a series: Prometheus calls it so, statsd's dialects call it a
// tag. Both fields are as they were given, and escaped by whoever writes them.
type Tag struct{ Name, Value string }

// Metrics counts for one proxy. It is safe for concurrent use.
type Metrics struct {
	o       Options
	traffic *traffic
	judged  judged
	// writeTimeout is the constant but in tests.
	writeTimeout time.Duration
	registry     *prometheus.Registry

	acceptErrors struct{ inbound, outbound atomic.Uint64 }

	handshakes                                          *prometheus.CounterVec
	handshakeDuration, dialDuration, connectionDuration *prometheus.HistogramVec
}

// New makes a Metrics with a registry of its own. It starts nothing.
func New(o Options) *Metrics {
	if o.Settings == nil {
		o.Settings = func() Settings { return Settings{} }
	}
	m := &Metrics{o: o, traffic: newTraffic(), registry: prometheus.NewRegistry(), writeTimeout: writeTimeout}
	m.handshakes = prometheus.NewCounterVec(prometheus.CounterOpts(handshakes.opts()), handshakes.Labels)
	m.handshakeDuration = histogram(handshakeDuration)
	m.dialDuration = histogram(dialDuration)
	m.connectionDuration = histogram(connectionDuration)
	m.registry.MustRegister(
		native{m}, envoy{m},
		gated{m, m.handshakes}, gated{m, m.handshakeDuration}, gated{m, m.dialDuration}, gated{m, m.connectionDuration},
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return m
}

// self is the service that the proxy represents.
func (f *Facts) self() peerLabels {
	p := parsePeer(f.SpiffeID)
	p.service, p.namespace, p.partition = f.Service, or(f.Namespace, defaultName), or(f.Partition, defaultName)
	return p
}

// destination names where a series leads to: the service that was proved, or
// else the one that is configured.
func (s series) destination() string {
	if s.direction == Outbound && s.peer.service != "" {
		return s.peer.name()
	}
	return s.to.name()
}

// source names who calls; self is the proxy's own service.
func (s series) source(self peerLabels) string {
	if s.direction == Outbound {
		return self.name()
	}
	return s.peer.name()
}

func (d Destination) name() string {
	return peerLabels{service: d.Service, namespace: d.Namespace}.name()
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
