package agenttest

import (
	"io"
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

// Tail is the last n lines.
func (l *Log) Tail(n int) string {
	lines := l.Lines()
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
		for _, text := range texts {
			if strings.Contains(line, text) {
				found = append(found, line)
				break
			}
		}
	}
	return found
}
