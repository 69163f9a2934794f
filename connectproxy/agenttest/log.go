package agenttest

import (
	"io"
	"slices"
	"strings"
	"sync"
)

// mostLog is how much a Log keeps, in bytes: an agent at debug level writes
// some kB a second.
const mostLog = 8 << 20

// Log keeps what a process writes, the newest 8 MiB of it. It is safe for any
// goroutine; the zero value is empty.
type Log struct {
	// also gets everything too; nil is nobody.
	also *Log

	mu   sync.Mutex
	text []byte
}

var _ io.Writer = (*Log)(nil)

// Write appends p. It never fails.
func (l *Log) Write(p []byte) (int, error) {
	if l.also != nil {
		_, _ = l.also.Write(p)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.text)+len(p) > mostLog {
		l.text = append([]byte(nil), l.text[len(l.text)/2:]...)
	}
	l.text = append(l.text, p...)
	return len(p), nil
}

// String is everything that has been kept.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.text)
}

// Count is how often text is in what has been kept.
func (l *Log) Count(text string) int { return strings.Count(l.String(), text) }

// Tail is the last n lines without those that contain any of the texts.
func (l *Log) Tail(n int, without ...string) string {
	lines := slices.DeleteFunc(l.Lines(), func(line string) bool {
		return slices.ContainsFunc(without, func(text string) bool { return strings.Contains(line, text) })
	})
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// Lines is everything that has been kept, a line each.
func (l *Log) Lines() []string {
	return strings.Split(strings.TrimRight(l.String(), "\n"), "\n")
}

// Matching is the lines that contain any of the texts.
func (l *Log) Matching(texts ...string) []string {
	var found []string
	for _, line := range l.Lines() {
		if slices.ContainsFunc(texts, func(text string) bool { return strings.Contains(line, text) }) {
			found = append(found, line)
		}
	}
	return found
}
