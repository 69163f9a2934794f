package metrics

import (
	"runtime/debug"
	"runtime/metrics"
	"strings"
)

// QuerySuffix ends the name of a Destination that is a prepared query.
const QuerySuffix = ".query"

// BuiltIn names samples as Consul's built-in proxy does, with github.com/armon/go-metrics.
type BuiltIn struct {
	// Prefix is what whoever sends the samples puts in front of each name. The
	// names that Allowed is asked about have it.
	Prefix string
	// Hostname stands in the full names of gauges; empty leaves it out.
	Hostname string
	// Allowed reports whether the sample of a name is wanted; nil wants all.
	Allowed func(name string) bool
}

// Samples returns those of m that the built-in proxy has (connect/proxy/listener.go
// of Consul), without Prefix and in no order. tx_bytes are sent to the destination
// and rx_bytes to the source; the built-in proxy has these two the other way round.
// It is safe for concurrent use.
func (b BuiltIn) Samples(m *Metrics) []Sample {
	f := m.o.Facts()
	self := f.self().name()
	in, out := sideCounts{}, map[string]*sideCounts{}
	for s, n := range m.traffic.snapshot() {
		if s.direction == Inbound {
			in.add(n)
			continue
		}
		b.upstream(out, s.to).add(n)
	}
	for _, u := range f.Upstreams {
		b.upstream(out, u.Destination) // also one that nobody has used
	}
	all := b.side(nil, "inbound", []Tag{{"dst", self}}, in)
	for name, n := range out {
		kind := "service"
		if query, ok := strings.CutSuffix(name, QuerySuffix); ok {
			name, kind = query, "prepared_query"
		}
		all = b.side(all, "upstream", []Tag{{"src", self}, {"dst_type", kind}, {"dst", name}}, *n)
	}
	for name, v := range runtimeGauges() {
		all = b.sample(all, "runtime."+name, nil, true, v)
	}
	return all
}

// sideCounts is what is counted on one side of the proxy.
type sideCounts struct{ conns, sent, received float64 }

func (s *sideCounts) add(n *tally) {
	s.conns += float64(n.active.Load())
	s.sent += float64(n.bytes.ToUpstream())
	s.received += float64(n.bytes.ToClient())
}

func (b BuiltIn) upstream(all map[string]*sideCounts, d Destination) *sideCounts {
	name := d.name()
	if all[name] == nil {
		all[name] = new(sideCounts)
	}
	return all[name]
}

func (b BuiltIn) side(all []Sample, of string, tags []Tag, s sideCounts) []Sample {
	all = b.sample(all, of+".conns", tags, true, s.conns)
	all = b.sample(all, of+".tx_bytes", tags, false, s.sent)
	return b.sample(all, of+".rx_bytes", tags, false, s.received)
}

func (b BuiltIn) sample(all []Sample, name string, tags []Tag, gauge bool, v float64) []Sample {
	key := name
	if gauge && b.Hostname != "" {
		key = b.Hostname + "." + name
	}
	if b.Allowed != nil && !b.Allowed(b.Prefix+"."+key) {
		return all
	}
	full := key
	for _, t := range tags {
		full += "." + t.Value
	}
	return append(all, Sample{Name: name, Full: full, Tags: tags, Gauge: gauge, Value: v})
}

// runtimeNames are those of go-metrics, by Go's own.
var runtimeNames = map[string]string{
	"/sched/goroutines:goroutines":       "num_goroutines",
	"/memory/classes/heap/objects:bytes": "alloc_bytes",
	"/memory/classes/total:bytes":        "sys_bytes",
	"/gc/heap/allocs:objects":            "malloc_count",
	"/gc/heap/frees:objects":             "free_count",
	"/gc/heap/objects:objects":           "heap_objects",
	"/gc/cycles/total:gc-cycles":         "total_gc_runs",
}

// runtimeGauges are about Go's runtime; asking for them stops nothing.
func runtimeGauges() map[string]float64 {
	samples := make([]metrics.Sample, 0, len(runtimeNames))
	for name := range runtimeNames {
		samples = append(samples, metrics.Sample{Name: name})
	}
	metrics.Read(samples)
	var gc debug.GCStats
	debug.ReadGCStats(&gc)
	all := map[string]float64{"total_gc_pause_ns": float64(gc.PauseTotal)}
	for _, s := range samples {
		if s.Value.Kind() == metrics.KindUint64 {
			all[runtimeNames[s.Name]] = float64(s.Value.Uint64())
		}
	}
	return all
}
