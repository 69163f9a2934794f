package catalog

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

const (
	// logBurst is how many lines of one message may be written in logWindow, and
	// logWindow is how often the rest of them are written as one.
	logBurst  = 20
	logWindow = time.Minute
	// logExamples is how many of the rest are named.
	logExamples = 3
)

// logLimit is a Logger with a bounded number of lines for each message: what a
// thousand destinations have to tell at once is told of a few, and of all others
// in one line a minute. At debug level nothing is left out.
type logLimit struct {
	hclog.Logger

	mu       sync.Mutex // guards what follows
	messages map[string]*messageCount
	flushing *time.Timer // nil until a line is left out
	closed   bool
}

// messageCount is what has been logged of one message since began.
type messageCount struct {
	level    hclog.Level
	began    time.Time
	written  int
	left     int // out
	examples []string
}

func newLogLimit(l hclog.Logger) *logLimit {
	return &logLimit{Logger: l, messages: make(map[string]*messageCount)}
}

// Info is hclog.Logger's.
func (l *logLimit) Info(message string, args ...any) { l.Log(hclog.Info, message, args...) }

// Warn is hclog.Logger's.
func (l *logLimit) Warn(message string, args ...any) { l.Log(hclog.Warn, message, args...) }

// Log is hclog.Logger's.
func (l *logLimit) Log(level hclog.Level, message string, args ...any) {
	if level <= hclog.Debug || l.IsDebug() || l.take(level, message, args) {
		l.Logger.Log(level, message, args...)
	}
}

// take reports whether a line may be written, and keeps count of it.
func (l *logLimit) take(level hclog.Level, message string, args []any) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	m := l.messages[message]
	if m == nil {
		m = &messageCount{level: level}
		l.messages[message] = m
	}
	if m.left == 0 && now.Sub(m.began) >= logWindow {
		m.began, m.written = now, 0
	}
	if m.written < logBurst {
		m.written++
		return true
	}
	m.left++
	if len(m.examples) < logExamples && len(args) > 1 {
		m.examples = append(m.examples, fmt.Sprint(args[1]))
	}
	if l.flushing == nil && !l.closed {
		l.flushing = time.AfterFunc(logWindow, l.flush)
	}
	return false
}

// flush writes a line for each message of which some were left out.
func (l *logLimit) flush() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.flushing = nil
	for message, m := range l.messages {
		if m.left > 0 {
			l.Logger.Log(m.level, message, "more", m.left, "for_example", strings.Join(m.examples, ", "))
		}
		m.began, m.written, m.left, m.examples = time.Now(), 0, 0, nil
	}
}

// close writes what is left, and waits for nothing from then on.
func (l *logLimit) close() {
	l.mu.Lock()
	l.closed = true
	if l.flushing != nil {
		l.flushing.Stop()
	}
	l.mu.Unlock()
	l.flush()
}
