package loglimit

import (
	"sync"
	"time"
)

// A Limit lets Lines through in Window, and counts the others.
const (
	Lines  = 10
	Window = 10 * time.Second
)

// Limit counts the lines of one kind. The zero value is ready; its method is safe
// for concurrent use.
type Limit struct {
	mu            sync.Mutex // guards the following
	since         time.Time
	written, left int
}

// Take reports whether a line may be written at now, and how many were left out
// since the last one that was.
func (l *Limit) Take(now time.Time) (ok bool, left int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now.Sub(l.since) >= Window {
		l.since, l.written = now, 0
	}
	if l.written == Lines {
		l.left++
		return false, 0
	}
	l.written++
	left, l.left = l.left, 0
	return true, left
}
