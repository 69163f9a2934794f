package report

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// Peer is one of the programs that were compared.
type Peer struct {
	Name, Version string
	// Reference is shown and does not count when the best is sought.
	Reference bool
	// Variant is ours once more, of another build or with other arguments. It
	// stands in tables of its own.
	Variant bool
}

// Sample is what one round found.
type Sample struct {
	Round int
	Value float64
}

// Note says what did not work, or not entirely, in a row.
type Note struct{ Row, Text string }

// Figures are what was measured. They are for one goroutine.
type Figures struct {
	// Ours is the name of the peer that the others are compared with.
	Ours  string
	Peers []Peer
	// Values are those of every round, by metric and peer. A metric's key
	// begins with its row's name and a point.
	Values map[string]map[string][]Sample
	Notes  []Note
}

// New has no figures yet.
func New(ours string, peers []Peer) *Figures {
	return &Figures{Ours: ours, Peers: peers, Values: map[string]map[string][]Sample{}}
}

// Add keeps one value.
func (f *Figures) Add(metric, peer string, round int, value float64) {
	if f.Values[metric] == nil {
		f.Values[metric] = map[string][]Sample{}
	}
	f.Values[metric][peer] = append(f.Values[metric][peer], Sample{Round: round, Value: value})
}

// Note keeps a note, once.
func (f *Figures) Note(row, text string) {
	if n := (Note{Row: row, Text: text}); !slices.Contains(f.Notes, n) {
		f.Notes = append(f.Notes, n)
	}
}

// Merge adds what an earlier run found for rows that f has not measured itself.
// A peer that both know has the version that f says.
func (f *Figures) Merge(earlier *Figures, measured func(row string) bool) {
	for key, values := range earlier.Values {
		if row, _, _ := strings.Cut(key, "."); !measured(row) {
			f.Values[key] = maps.Clone(values)
		}
	}
	for _, n := range earlier.Notes {
		if !measured(n.Row) {
			f.Note(n.Row, n.Text)
		}
	}
	for _, p := range earlier.Peers {
		if !slices.ContainsFunc(f.Peers, func(q Peer) bool { return q.Name == p.Name }) {
			f.Peers = append(f.Peers, p)
		}
	}
}

// Keep drops the values and notes of all rows but those that are wanted.
func (f *Figures) Keep(wanted func(row string) bool) {
	maps.DeleteFunc(f.Values, func(key string, _ map[string][]Sample) bool {
		row, _, _ := strings.Cut(key, ".")
		return !wanted(row)
	})
	f.Notes = slices.DeleteFunc(f.Notes, func(n Note) bool { return !wanted(n.Row) })
}

// values are those of a metric, in ascending order.
func (f *Figures) values(metric, peer string) []float64 {
	var values []float64
	for _, s := range f.Values[metric][peer] {
		values = append(values, s.Value)
	}
	slices.Sort(values)
	return values
}

// Summary is what several rounds come to.
type Summary struct{ Median, Least, Most float64 }

// Summary is that of a metric's values; false if there are none.
func (f *Figures) Summary(metric, peer string) (Summary, bool) {
	values := f.values(metric, peer)
	if len(values) == 0 {
		return Summary{}, false
	}
	return Summary{Median: median(values), Least: values[0], Most: values[len(values)-1]}, true
}

// Best is the peer, neither ours nor a reference, whose median is the best.
func (f *Figures) Best(m Metric) (name string, value float64, ok bool) {
	for _, p := range f.Peers {
		s, has := f.Summary(m.Key, p.Name)
		if !has || p.Reference || p.Variant || p.Name == f.Ours {
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
