package report

import (
	"fmt"
	"slices"
	"strings"
)

// Grid is the table of the metrics that want one: a line for each work and
// peer, a column for each unit. It is empty without figures.
func (f *Figures) Grid(metrics []Metric) string {
	var works, units []string
	keys := map[[2]string]string{}
	for _, m := range metrics {
		if !m.Grid || !f.has(m.Key, f.programs()) {
			continue
		}
		if !slices.Contains(works, m.Work) {
			works = append(works, m.Work)
		}
		if !slices.Contains(units, m.Unit) {
			units = append(units, m.Unit)
		}
		keys[[2]string{m.Work, m.Unit}] = m.Key
	}
	if len(works) == 0 {
		return ""
	}
	var b strings.Builder
	fmt.Fprintf(&b, "| work | program | %s |\n|---|---|%s\n", strings.Join(units, " | "), strings.Repeat("--:|", len(units)))
	for _, work := range works {
		for _, p := range f.programs() {
			var line strings.Builder
			found := false
			for _, unit := range units {
				s, ok := f.Summary(keys[[2]string{work, unit}], p.Name)
				if found = found || ok; !ok {
					line.WriteString(" – |")
					continue
				}
				fmt.Fprintf(&line, " %s |", number(s.Median))
			}
			if found {
				fmt.Fprintf(&b, "| %s | %s |%s\n", work, p.Name, line.String())
			}
		}
	}
	return b.String()
}
