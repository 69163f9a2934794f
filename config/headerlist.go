package config

import (
	"errors"
	"fmt"
	"strings"
)

// maxHeaderName bounds the name of a header in a HeaderList, in bytes.
const maxHeaderName = 255

// HeaderList is names of HTTP headers. It is immutable and safe for concurrent use; the
// zero value has none.
type HeaderList struct {
	names    map[string]bool
	patterns []string // those with a *
}

// NewHeaderList makes a HeaderList of patterns: names with * for any part. As in HTTP,
// capitals do not count. Nor does which sign stands between letters: services that are
// given headers as variables do not see it (RFC 3875, section 4.1.18), so X_User is
// X-User. An error names a pattern that no header can have, or that every header has.
func NewHeaderList(patterns []string) (HeaderList, error) {
	l := HeaderList{names: make(map[string]bool, len(patterns))}
	for _, p := range patterns {
		if err := checkHeader(p); err != nil {
			return HeaderList{}, err
		}
		parts := strings.Split(p, "*")
		for i := range parts {
			parts[i] = PlainHeader(parts[i])
		}
		if len(parts) == 1 {
			l.names[parts[0]] = true
		} else {
			l.patterns = append(l.patterns, strings.Join(parts, "*"))
		}
	}
	return l, nil
}

func checkHeader(pattern string) error {
	switch {
	case pattern == "":
		return errors.New("an empty name is no header's: remove it")
	case len(pattern) > maxHeaderName:
		return fmt.Errorf("%.80q: the name of a header has %d bytes at most", pattern, maxHeaderName)
	case strings.Trim(pattern, "*") == "":
		return fmt.Errorf("%.80q is every header: list the names", pattern)
	}
	for i := range len(pattern) {
		// The signs of a token (RFC 9110, section 5.6.2).
		if c := pattern[i]; !alphanumeric(rune(c)) && !strings.ContainsRune("!#$%&'*+-.^_`|~", rune(c)) {
			return fmt.Errorf("%.80q: the name of a header has letters, digits and hyphens, and no spaces", pattern)
		}
	}
	return nil
}

// Has reports whether the list has a header, whose name is in PlainHeader's form.
func (l HeaderList) Has(plain string) bool {
	if l.names[plain] {
		return true
	}
	for _, p := range l.patterns {
		if matchesPattern(p, plain) {
			return true
		}
	}
	return false
}

// PlainHeader is the name of a header in small letters, with a hyphen for every sign
// that is neither a letter nor a digit.
func PlainHeader(name string) string {
	return strings.Map(func(r rune) rune {
		if alphanumeric(r) {
			return r
		}
		return '-'
	}, strings.ToLower(name))
}

func alphanumeric(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9'
}
