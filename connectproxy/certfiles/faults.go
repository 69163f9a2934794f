package certfiles

import (
	"errors"
	"slices"
	"strings"
)

// faults are what is wrong with files, a line each.
type faults []error

// Error has them in one line. What is wrong with a file that is read for two purposes
// is said once.
func (f faults) Error() string {
	var lines []string
	for _, err := range f {
		if line := err.Error(); !slices.Contains(lines, line) {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "; ")
}

// Unwrap lets errors.Is and errors.As see each.
func (f faults) Unwrap() []error { return f }

// and adds what err says; nil says nothing.
func (f faults) and(err error) faults {
	var more faults
	switch {
	case err == nil:
		return f
	case errors.As(err, &more):
		return append(f, more...)
	}
	return append(f, err)
}

// err is nil where nothing is wrong.
func (f faults) err() error {
	if len(f) == 0 {
		return nil
	}
	return f
}

// Check reads the files once, as New does, and returns all that is wrong with them:
// a line for each fault, with the file and what to do; nil if they can be used.
func Check(o Options) []error {
	_, err := New(o)
	var all faults
	switch {
	case err == nil:
		return nil
	case errors.As(err, &all):
		return all
	}
	return []error{err}
}
