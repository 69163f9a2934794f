package dev

import (
	"bytes"
	"io"
	"sync"
)

const (
	// keptLines are the lines of the start that are kept for when it fails.
	keptLines = 200
	// maxLine is of one that is not ended; a longer one is cut in pieces.
	maxLine = 64 << 10
)

// logs puts what the proxies log below one another, each line with the name of
// its proxy before it. What they say before all is ready is kept back, and shown
// if that does not come. It is safe for concurrent use.
type logs struct {
	mu        sync.Mutex
	to        io.Writer
	following bool
	kept      [][]byte
}

// of is a writer for one proxy.
func (l *logs) of(name string) io.Writer { return &named{logs: l, name: name} }

// follow shows lines from now on.
func (l *logs) follow() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.following, l.kept = true, nil
}

// show writes what was kept back, and everything from now on.
func (l *logs) show() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, line := range l.kept {
		_, _ = l.to.Write(line)
	}
	l.following, l.kept = true, nil
}

func (l *logs) line(text []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.following {
		_, _ = l.to.Write(text) // whoever does not read it does without
		return
	}
	if len(l.kept) == keptLines {
		l.kept = l.kept[1:]
	}
	l.kept = append(l.kept, text)
}

// named is one proxy's. A process writes on one goroutine.
type named struct {
	logs *logs
	name string
	rest []byte
}

func (n *named) Write(p []byte) (int, error) {
	n.rest = append(n.rest, p...)
	for {
		end := bytes.IndexByte(n.rest, '\n')
		if end < 0 && len(n.rest) < maxLine {
			return len(p), nil
		}
		if end < 0 {
			end = len(n.rest) - 1
		}
		n.logs.line([]byte(n.name + "  " + string(n.rest[:end+1])))
		n.rest = n.rest[end+1:]
	}
}
