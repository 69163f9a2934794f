package report

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// Targets is the table of what ours is to reach and whether it does.
func (f *Figures) Targets(metrics []Metric) string {
	var b strings.Builder
	fmt.Fprintf(&b, "| work | %s | best peer | ratio to it | to reach | reached |\n|---|--:|--:|--:|---|---|\n", f.Ours)
	for _, m := range metrics {
		text := m.Target.Text(m)
		ours, ok := f.Summary(m.Key, f.Ours)
		if text == "" || !ok {
			continue
		}
		best, ratio := "–", "–"
		if name, value, ok := f.Best(m); ok {
			best = fmt.Sprintf("%s (%s)", number(value), name)
			ratio = times(ours.Median, value)
		}
		if m.Target.Peer != "" {
			if s, ok := f.Summary(m.Key, m.Target.Peer); ok {
				text += fmt.Sprintf(" (%s)", times(ours.Median, s.Median))
			}
		}
		verdict := "not known"
		if reached, known := f.Verdict(m); known {
			verdict = map[bool]string{true: "yes", false: "**no**"}[reached]
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s |\n", m.title(), number(ours.Median), best, ratio, text, verdict)
	}
	return b.String()
}

// All is the table of every figure: the median, the least and the most of the
// rounds, and the ratio of the median to ours. It is empty without figures.
func (f *Figures) All(metrics []Metric) string {
	var b strings.Builder
	b.WriteString("| work |")
	peers, some := f.programs(), false
	for _, p := range peers {
		b.WriteString(" " + p.Name + " |")
	}
	b.WriteString("\n|---|" + strings.Repeat("--:|", len(peers)) + "\n")
	for _, m := range metrics {
		if m.Grid || !f.has(m.Key, peers) {
			continue
		}
		ours, has := f.Summary(m.Key, f.Ours)
		b.WriteString("| " + m.title() + " |")
		for _, p := range peers {
			s, ok := f.Summary(m.Key, p.Name)
			if !ok {
				b.WriteString(" – |")
				continue
			}
			fmt.Fprintf(&b, " %s", number(s.Median))
			if s.Least != s.Most {
				fmt.Fprintf(&b, " (%s…%s)", number(s.Least), number(s.Most))
			}
			if has && p.Name != f.Ours && ours.Median != 0 {
				b.WriteString(" " + times(s.Median, ours.Median))
			}
			b.WriteString(" |")
		}
		b.WriteString("\n")
		some = true
	}
	if !some {
		return ""
	}
	return b.String()
}

// programs are the peers without the variants of ours.
func (f *Figures) programs() []Peer {
	return slices.DeleteFunc(slices.Clone(f.Peers), func(p Peer) bool { return p.Variant })
}

func (f *Figures) has(metric string, peers []Peer) bool {
	return slices.ContainsFunc(peers, func(p Peer) bool { return len(f.Values[metric][p.Name]) > 0 })
}

func (m Metric) title() string { return m.Work + ", " + m.Unit }

// times is a ratio.
func times(a, b float64) string {
	if b == 0 {
		return "–"
	}
	return fmt.Sprintf("×%.2f", a/b)
}

// number has three significant digits, or all before the point, in groups.
func number(v float64) string {
	a := math.Abs(v)
	switch {
	case v == math.Trunc(v) && a < 1000:
		return fmt.Sprintf("%.0f", v)
	case a < 0.001:
		return fmt.Sprintf("%.1e", v)
	case a < 0.1:
		return fmt.Sprintf("%.4f", v)
	case a < 10:
		return fmt.Sprintf("%.2f", v)
	case a < 100:
		return fmt.Sprintf("%.1f", v)
	}
	digits := fmt.Sprintf("%.0f", a)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	if v < 0 {
		return "-" + digits
	}
	return digits
}
