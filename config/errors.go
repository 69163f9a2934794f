package config

import "strings"

// Invalid is a configuration that cannot be used, with every mistake in it.
type Invalid struct {
	// Origin is where it came from: a file's path, "flags", an agent's address
	// and proxy ID.
	Origin string
	// Mistakes is never empty.
	Mistakes []Mistake
}

// Mistake is one thing wrong with a configuration.
type Mistake struct {
	// Pos is "file:line" in a file and empty elsewhere.
	Pos string
	// Field is the setting's path as a user writes it: upstreams[1].local_bind_port.
	Field string
	// Value is the offending text, empty where something is missing.
	Value string
	// Problem says what is wrong and what to do, in one phrase.
	Problem string
}

// Error names the origin and every mistake, a line each where there are several.
func (e *Invalid) Error() string {
	lines := make([]string, len(e.Mistakes))
	for i, m := range e.Mistakes {
		lines[i] = m.String()
	}
	return "invalid configuration (" + e.Origin + "): " + strings.Join(lines, "; ")
}

// String puts the mistake on one line.
func (m Mistake) String() string {
	var b strings.Builder
	if m.Pos != "" {
		b.WriteString(m.Pos + ": ")
	}
	if m.Field != "" {
		b.WriteString(m.Field + ": ")
	}
	if m.Value != "" {
		b.WriteString(m.Value + ": ")
	}
	b.WriteString(m.Problem)
	return b.String()
}
