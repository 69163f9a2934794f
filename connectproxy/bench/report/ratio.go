package report

import (
	"fmt"
	"slices"
	"strings"
)

// Ratio is how ours compares with another peer, round by round: both were
// measured within seconds of each other, so that what the machine did besides
// met both.
type Ratio struct {
	// Median is that of the rounds' ratios. Low and High enclose the true one
	// with a certainty of 95 percent, if Sure, and else are the least and the
	// most.
	Median, Low, High float64
	// Rounds is how many there are in which both have a value.
	Rounds int
	// Sure takes six rounds.
	Sure bool
}

// Ratio is ours to a peer's; false without a round in which both have a value
// above zero.
func (f *Figures) Ratio(metric, peer string) (Ratio, bool) {
	theirs := map[int]float64{}
	for _, s := range f.Values[metric][peer] {
		theirs[s.Round] = s.Value
	}
	var ratios []float64
	for _, s := range f.Values[metric][f.Ours] {
		if v := theirs[s.Round]; v > 0 && s.Value > 0 {
			ratios = append(ratios, s.Value/v)
		}
	}
	n := len(ratios)
	if n == 0 {
		return Ratio{}, false
	}
	slices.Sort(ratios)
	left := outside(n)
	return Ratio{
		Median: median(ratios), Low: ratios[max(left-1, 0)], High: ratios[n-max(left, 1)],
		Rounds: n, Sure: left > 0,
	}, true
}

// outside is the rank, from either end of n values, of the innermost two that
// enclose the median of what the values are drawn from with a certainty of 95
// percent; zero if none do. Whatever the distribution is, a value is below its
// median as often as a coin shows heads.
func outside(n int) int {
	const doubt = 0.05
	ways, total := 1.0, 1.0 // of n throws with k heads, and with at most k
	all := 1.0
	for range n {
		all *= 2
	}
	k := 0
	for 2*total/all <= doubt {
		k++
		ways *= float64(n-k+1) / float64(k)
		total += ways
	}
	return k
}

// verdict says what a ratio of ours shows.
func (r Ratio) verdict(m Metric) string {
	switch {
	case !r.Sure:
		return "too few rounds"
	case r.Low <= 1 && r.High >= 1:
		return "no difference shown"
	case m.More == (r.Low > 1):
		return "better"
	}
	return "**worse**"
}

// Compared is a table of ours against each variant; empty without any.
func (f *Figures) Compared(metrics []Metric) string {
	var b strings.Builder
	for _, p := range f.Peers {
		if !p.Variant {
			continue
		}
		var rows strings.Builder
		for _, m := range metrics {
			r, ok := f.Ratio(m.Key, p.Name)
			if !ok {
				continue
			}
			ours, _ := f.Summary(m.Key, f.Ours)
			theirs, _ := f.Summary(m.Key, p.Name)
			fmt.Fprintf(&rows, "| %s | %s | %s | ×%.3f | %.3f…%.3f | %s |\n",
				m.title(), number(ours.Median), number(theirs.Median), r.Median, r.Low, r.High, r.verdict(m))
		}
		if rows.Len() > 0 {
			fmt.Fprintf(&b, "\n| work | %s | %s | %[1]s to %[2]s | spread | %[1]s is |\n|---|--:|--:|--:|--:|---|\n%[3]s", f.Ours, p.Name, rows.String())
		}
	}
	return b.String()
}
