package allowlist

import (
	"errors"
	"fmt"
	"strings"
)

// List is a set of patterns. The zero value, and a nil one, allow nobody.
type List struct{ patterns []pattern }

// pattern is one kind of pattern.
type pattern interface {
	// matches reports whether the identity is among the names.
	matches(n names) bool
	String() string
}

// maxPatterns bounds what is compared for each connection.
const maxPatterns = 10_000

// Parse reads patterns, of which there may be 10,000. Its error names every one
// that is wrong and what to do, a line each. No patterns are a List that allows
// nobody.
func Parse(texts []string) (*List, error) {
	if len(texts) > maxPatterns {
		return nil, fmt.Errorf("%d identities are more than %d: use * for a segment", len(texts), maxPatterns)
	}
	l := &List{}
	var problems []error
	for _, text := range texts {
		p, err := parse(text)
		if err != nil {
			problems = append(problems, fmt.Errorf("identity %q: %w", text, err))
			continue
		}
		l.patterns = append(l.patterns, p)
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	return l, nil
}

// Check returns what is wrong with one pattern; nil if nothing is.
func Check(pattern string) error {
	_, err := parse(pattern)
	return err
}

// allows returns the first pattern that one of the names matches; ok is false if
// there is none.
func (l *List) allows(n names) (by string, ok bool) {
	if l == nil {
		return "", false
	}
	for _, p := range l.patterns {
		if p.matches(n) {
			return p.String(), true
		}
	}
	return "", false
}

// AllowsText returns the first pattern that matches one of the names in a text of
// TextOf; ok is false if there is none. Any other text is not allowed.
func (l *List) AllowsText(text string) (by string, ok bool) {
	n, err := parseNames(text)
	if err != nil {
		return "", false
	}
	return l.allows(n)
}

// ServerName returns the DNS name of the first pattern that is one without a *, to
// ask a server for; empty if there is none.
func (l *List) ServerName() string {
	if l == nil {
		return ""
	}
	for _, p := range l.patterns {
		if name, ok := p.(dnsPattern); ok && !strings.Contains(string(name), wildcard) {
			return string(name)
		}
	}
	return ""
}

// Len returns how many patterns there are.
func (l *List) Len() int {
	if l == nil {
		return 0
	}
	return len(l.patterns)
}
