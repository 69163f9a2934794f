package cli

import (
	"fmt"
	"io"
)

// grade says how good or bad a finding is.
type grade string

const (
	good    grade = "ok"
	notice  grade = "warning"
	failing grade = "failed"
)

// finding is one line of what was looked into.
type finding struct {
	// Area is what it is about: agent, certificates, listeners.
	Area  string `json:"area"`
	Grade grade  `json:"result"`
	Text  string `json:"text"`
	// Advice is what to do, or to type, next; empty where nothing is to be done.
	Advice string `json:"advice,omitempty"`
}

// findings are what was looked into, in that order.
type findings []finding

func (f *findings) add(area string, g grade, advice, format string, args ...any) {
	*f = append(*f, newFinding(area, g, advice, format, args...))
}

func newFinding(area string, g grade, advice, format string, args ...any) finding {
	return finding{area, g, printable(fmt.Sprintf(format, args...)), printable(advice)}
}

// failed reports whether anything is not as it has to be.
func (f findings) failed() bool {
	for _, x := range f {
		if x.Grade == failing {
			return true
		}
	}
	return false
}

var marks = map[grade]struct{ sign, colour string }{good: {"✓", "32"}, notice: {"!", "33"}, failing: {"×", "31"}}

// print writes a heading for each area and a line for each finding.
func (f findings) print(w io.Writer) {
	area := ""
	for _, x := range f {
		if x.Area != area {
			area = x.Area
			fmt.Fprintln(w, area)
		}
		m := marks[x.Grade]
		fmt.Fprintf(w, "  %s %s\n", coloured(w, m.colour, m.sign), x.Text)
		if x.Advice != "" {
			fmt.Fprintf(w, "    -> %s\n", x.Advice)
		}
	}
}
