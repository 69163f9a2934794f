package report

import "fmt"

// Metric is one thing that is measured.
type Metric struct {
	// Key is unique, Work and Unit are for people.
	Key, Work, Unit string
	// More says that more is better.
	More   bool
	Target Target
	// Grid has the metric stand in the table of Grid rather than in that of all.
	Grid bool
}

// Target is what ours is to reach: a ratio to a peer's median, or a limit. The
// zero value is no target.
type Target struct {
	// Factor is the ratio to reach, at least where more is better and else at
	// most; 1 means to be better at all. Zero is no ratio.
	Factor float64
	// Peer is whose median the ratio is to; empty is the best of all.
	Peer string
	// Limit is an absolute bound instead, if Limited.
	Limit   float64
	Limited bool
}

// Text is the target in words; empty if there is none.
func (t Target) Text(m Metric) string {
	sign := "≤"
	if m.More {
		sign = "≥"
	}
	if t.Limited {
		return fmt.Sprintf("%s %s", sign, tick(t.Limit))
	}
	whose := "the best peer's"
	if t.Peer != "" {
		whose = t.Peer + "'s"
	}
	switch {
	case t.Factor == 0:
		return ""
	case t.Factor == 1 && t.Peer == "" && m.More:
		return "above every peer's"
	case t.Factor == 1 && t.Peer == "":
		return "below every peer's"
	}
	return fmt.Sprintf("%s %s × %s", sign, tick(t.Factor), whose)
}

// Verdict reports whether ours reaches the target, if both are known.
func (f *Figures) Verdict(m Metric) (reached, known bool) {
	ours, ok := f.Summary(m.Key, f.Ours)
	if !ok {
		return false, false
	}
	bound := m.Target.Limit
	switch {
	case m.Target.Limited:
	case m.Target.Factor == 0:
		return false, false
	case m.Target.Peer != "":
		s, ok := f.Summary(m.Key, m.Target.Peer)
		if !ok {
			return false, false
		}
		bound = m.Target.Factor * s.Median
	default:
		_, best, ok := f.Best(m)
		if !ok {
			return false, false
		}
		bound = m.Target.Factor * best
	}
	if m.Target.Factor == 1 && ours.Median == bound {
		return false, true
	}
	return m.More && ours.Median >= bound || !m.More && ours.Median <= bound, true
}
