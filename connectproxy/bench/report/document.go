package report

import (
	"fmt"
	"os"
	"strings"
)

// The generated part of the document stands between these lines.
const (
	begin = "<!-- make bench writes from here -->"
	end   = "<!-- to here -->"
)

// Section is the generated part: the tables, what they were taken on, and how.
// About describes the machine and the run, a line each.
func (f *Figures) Section(metrics []Metric, about []string, plots map[string]string) string {
	var b strings.Builder
	for _, line := range about {
		b.WriteString("- " + line + "\n")
	}
	for _, p := range f.Peers {
		fmt.Fprintf(&b, "- %s: %s\n", p.Name, p.Version)
	}
	for _, note := range f.Notes {
		fmt.Fprintf(&b, "- note on `%s`: %s\n", note.Row, note.Text)
	}
	b.WriteString("\n### What is to be reached\n\n" + f.Targets(metrics))
	b.WriteString("\n### Every figure\n\nThe median of the rounds, the least and the most of them, and the ratio of the median to " + f.Ours + "'s.\n\n" + f.All(metrics))
	if grid := f.Grid(metrics); grid != "" {
		b.WriteString("\n### Fleets\n\n" + grid)
	}
	if compared := f.Compared(metrics); compared != "" {
		b.WriteString("\n### What choices cost\n\nThe median of the rounds' ratios, and between what it lies with a certainty of 95 %.\n" + compared)
	}
	if len(plots) > 0 {
		b.WriteString("\n### Plots\n")
		for _, file := range sortedKeys(plots) {
			fmt.Fprintf(&b, "\n![%s](%s)\n", plots[file], file)
		}
	}
	return b.String()
}

// Rewrite replaces the generated part of a document, which must have one.
func Rewrite(document, section string) (string, error) {
	before, rest, found := strings.Cut(document, begin+"\n")
	_, after, ended := strings.Cut(rest, end)
	if !found || !ended {
		return "", fmt.Errorf("finding the lines %q and %q in the document", begin, end)
	}
	return before + begin + "\n\n" + section + "\n" + end + after, nil
}

// RewriteFile replaces the generated part of a file.
func RewriteFile(path, section string) error {
	old, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("reading the document: %w", err)
	}
	text, err := Rewrite(string(old), section)
	if err != nil {
		return fmt.Errorf("rewriting %s: %w", path, err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		return fmt.Errorf("writing the document: %w", err)
	}
	return nil
}
