package report

import (
	"slices"
	"time"
)

// Peer is one of the programs that were compared.
type Peer struct {
	Name, Version string
	// Reference is shown and does not count when the best is sought.
	Reference bool
}

// Figures are what was measured. They are for one goroutine.
type Figures struct {
	// Ours is the name of the peer that the others are compared with.
	Ours  string
	Peers []Peer
	// Values are those of every round, by metric and peer.
	Values map[string]map[string][]float64
	// Notes say what did not work, or not entirely.
	Notes []string
}

// New has no figures yet.
func New(ours string, peers []Peer) *Figures {
	return &Figures{Ours: ours, Peers: peers, Values: map[string]map[string][]float64{}}
}

// Add keeps one value.
func (f *Figures) Add(metric, peer string, value float64) {
	if f.Values[metric] == nil {
		f.Values[metric] = map[string][]float64{}
	}
	f.Values[metric][peer] = append(f.Values[metric][peer], value)
}

// Summary is what several rounds come to.
type Summary struct{ Median, Least, Most float64 }

// Summary is that of a metric's values; false if there are none.
func (f *Figures) Summary(metric, peer string) (Summary, bool) {
	values := slices.Sorted(slices.Values(f.Values[metric][peer]))
	if len(values) == 0 {
		return Summary{}, false
	}
	return Summary{Median: median(values), Least: values[0], Most: values[len(values)-1]}, true
}

// Best is the peer, neither ours nor a reference, whose median is the best.
func (f *Figures) Best(m Metric) (name string, value float64, ok bool) {
	for _, p := range f.Peers {
		s, has := f.Summary(m.Key, p.Name)
		if !has || p.Reference || p.Name == f.Ours {
			continue
		}
		if !ok || m.More == (s.Median > value) && s.Median != value {
			name, value, ok = p.Name, s.Median, true
		}
	}
	return name, value, ok
}

// median wants its values in order.
func median(sorted []float64) float64 {
	n := len(sorted)
	if n%2 == 1 {
		return sorted[n/2]
	}
	return (sorted[n/2-1] + sorted[n/2]) / 2
}

// Percentile is the smallest of the times, which are in order, that is not
// exceeded by p percent of them.
func Percentile(sorted []time.Duration, p float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	// The rank is rounded up: of 100 times the 99th is the 99th percentile.
	rank := int(p / 100 * float64(len(sorted)))
	if float64(rank) < p/100*float64(len(sorted)) {
		rank++
	}
	return sorted[min(max(rank, 1), len(sorted))-1]
}
