package logwriter

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// defaultSize has room for a second of the busiest log that reasons are
	// limited to.
	defaultSize = 256 << 10
	// defaultRetry is how long a file that cannot be written is left alone.
	defaultRetry = time.Second
	// lineOverhead is what a queued line takes beside its bytes.
	lineOverhead = 64
	// patience is the longest wait in poll(2): the end is noticed within it.
	patience = 50 * time.Millisecond
)

// errFull says that the file takes nothing at the moment and is well otherwise.
var errFull = errors.New("no room")

// Options describe a Writer.
type Options struct {
	// Size is how many bytes may be queued; 0 means 256 KiB.
	Size int
	// Retry is the time between two attempts at a file that gives an error; 0
	// means a second.
	Retry time.Duration
}

// Writer is an io.Writer that never blocks. Its methods are safe for concurrent
// use.
type Writer struct {
	o       Options
	to      destination
	dropped atomic.Uint64

	wake    chan struct{} // holds one call
	closing chan struct{}
	done    chan struct{}

	mu      sync.Mutex // guards what follows
	queue   []line
	size    int
	missing uint64 // dropped since the last line that was queued
	notice  func(dropped uint64) []byte
	until   time.Time // when the goroutine must end; zero before Close
}

// line is one Write, and how many lines are missing before it.
type line struct {
	text    []byte
	missing uint64
}

// destination takes bytes.
type destination interface {
	// write writes what it can of p, and waits for at most so long until it can
	// write anything. errFull says that it waited in vain.
	write(p []byte, wait time.Duration) (int, error)
	// gone says of an error that who read what was written so far has left.
	gone(err error) bool
}

// Start begins to write to f, which stays the caller's and must stay open until
// Close has returned true, or for good.
func Start(f *os.File, o Options) *Writer { return start(newFile(f), o) }

func start(to destination, o Options) *Writer {
	if o.Size <= 0 {
		o.Size = defaultSize
	}
	if o.Retry <= 0 {
		o.Retry = defaultRetry
	}
	w := &Writer{
		o:       o,
		to:      to,
		wake:    make(chan struct{}, 1),
		closing: make(chan struct{}),
		done:    make(chan struct{}),
		notice: func(n uint64) []byte {
			return fmt.Appendf(nil, "%d log lines are missing here: they could not be written in time\n", n)
		},
	}
	go w.run()
	return w
}

// SetNotice replaces the line that stands where others are missing. format is
// called by the Writer's own goroutine.
func (w *Writer) SetNotice(format func(dropped uint64) []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.notice = format
}

// Dropped counts the Writes that were not, or not wholly, written.
func (w *Writer) Dropped() uint64 { return w.dropped.Load() }

// Write queues a copy of p, or drops it. It never fails, so that nobody tries
// to say elsewhere what could not be said here.
func (w *Writer) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	need := len(p) + lineOverhead
	limit := w.o.Size
	if w.missing > 0 {
		limit /= 2 // one long gap rather than many short ones
	}
	if w.size+need > limit || !w.until.IsZero() {
		w.missing++
		w.dropped.Add(1)
		return len(p), nil
	}
	w.queue = append(w.queue, line{text: append([]byte(nil), p...), missing: w.missing})
	w.size += need
	w.missing = 0
	select {
	case w.wake <- struct{}{}:
	default: // it is awake
	}
	return len(p), nil
}

// Close writes what is queued, for at most so long, and says whether that was
// everything. What is written to it afterwards is dropped. A second call can only
// shorten the time of the first.
func (w *Writer) Close(within time.Duration) bool {
	until := time.Now().Add(within)
	w.mu.Lock()
	if w.until.IsZero() {
		close(w.closing)
	}
	if w.until.IsZero() || until.Before(w.until) {
		w.until = until
	}
	w.mu.Unlock()

	timer := time.NewTimer(within + patience)
	defer timer.Stop()
	select {
	case <-w.done:
	case <-timer.C: // it is in a write(2) that blocks
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.queue) == 0 && w.missing == 0
}

// run writes lines until Close says that it is enough.
func (w *Writer) run() {
	defer close(w.done)
	for {
		l, ok := w.next()
		switch {
		case !ok:
			return
		case l.missing > 0 && !w.deliver(w.noticeOf(l.missing)):
			return
		case l.text == nil:
			continue
		case !w.deliver(l.text):
			return
		}
		w.pop()
	}
}

// next waits for a line, which stays in the queue until it is written, so that
// its bytes count. One without text tells of a gap at the end. It says false
// when there is nothing left and nothing will come.
func (w *Writer) next() (line, bool) {
	for {
		w.mu.Lock()
		switch {
		case len(w.queue) > 0:
			l := w.queue[0]
			w.mu.Unlock()
			return l, true
		case w.missing > 0:
			l := line{missing: w.missing}
			w.missing = 0
			w.mu.Unlock()
			return l, true
		}
		over := !w.until.IsZero()
		w.mu.Unlock()
		if over {
			return line{}, false
		}
		select {
		case <-w.wake:
		case <-w.closing:
		}
	}
}

// pop takes out the line that was written.
func (w *Writer) pop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.size -= len(w.queue[0].text) + lineOverhead
	w.queue[0] = line{}
	if w.queue = w.queue[1:]; len(w.queue) == 0 {
		w.queue = nil // what a burst has taken is given back
	}
}

func (w *Writer) noticeOf(missing uint64) []byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.notice(missing)
}

// deliver writes one line, however long that takes. It says false when the time
// to end has come instead.
func (w *Writer) deliver(text []byte) bool {
	rest := text
	for len(rest) > 0 {
		left, bounded := w.left()
		if bounded && left <= 0 {
			return false
		}
		n, err := w.to.write(rest, min(left, patience))
		rest = rest[n:]
		switch {
		case err == nil, errors.Is(err, errFull):
		case len(rest) < len(text) && w.to.gone(err):
			w.dropped.Add(1) // whoever comes next would see half a line
			return true
		case bounded:
			return false // there will be no better time
		default:
			w.pause()
		}
	}
	return true
}

// left is how long the goroutine may go on, and whether that is bounded.
func (w *Writer) left() (time.Duration, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.until.IsZero() {
		return patience, false
	}
	return time.Until(w.until), true
}

// pause leaves a file alone that gave an error, until Close, which gives it one
// last chance.
func (w *Writer) pause() {
	timer := time.NewTimer(w.o.Retry)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-w.closing:
	}
}
