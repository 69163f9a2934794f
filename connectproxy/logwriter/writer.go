package logwriter

import (
	"bytes"
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
	// maxTogether is how many bytes of lines go into one write of a file that takes
	// any number.
	maxTogether = 64 << 10
	// patience is the longest wait in poll(2): the end is noticed within it.
	patience = 50 * time.Millisecond
)

// errFull says that the file takes nothing at the moment and is well otherwise.
var errFull = errors.New("no room")

// Options describe a Writer.
type Options struct {
	// Size is how many bytes may be queued, with 64 for each line beside its own;
	// 0 means 256 KiB.
	Size int
	// Retry is the time between two attempts at a file that gives an error; 0
	// means a second.
	Retry time.Duration
	// Gather is how long lines that come soon after others were written wait, to be
	// written together; 0 means that they do not wait. A line after a pause of that
	// length is written at once.
	Gather time.Duration
}

// Writer is an io.Writer that never blocks. Its methods are safe for concurrent
// use. It has a goroutine from its start on, which Close ends.
type Writer struct {
	o       Options
	to      output
	dropped atomic.Uint64
	problem atomic.Pointer[error] // why the last write failed

	wake    chan struct{} // holds one call
	half    chan struct{} // holds one: half of Size is queued
	closing chan struct{}
	done    chan struct{}

	written time.Time // when lines were last written; the goroutine's alone, as is
	batch   []byte    // what is written together

	mu    sync.Mutex // guards what follows
	queue queue
	// unwritten are the lines that are not written yet, also those that the
	// goroutine has taken, and size is theirs.
	unwritten, size int
	missing         uint64 // dropped since the last line that was queued
	notice          func(dropped uint64) []byte
	until           time.Time // when the goroutine must end; zero before Close
	ended           bool      // Close has given up what was still queued, if anything
}

// output takes bytes.
type output interface {
	// write writes what it can of p, and waits for at most so long until it can
	// write anything. errFull says that it waited in vain.
	write(p []byte, wait time.Duration) (int, error)
	// together is how many bytes of several lines may be written at once.
	together() int
	// gone says of an error that who read what was written so far has left.
	gone(err error) bool
}

// Start begins to write to f, which stays the caller's and must stay open until
// Close has returned true, or for good.
func Start(f *os.File, o Options) *Writer { return start(newFile(f), o) }

func start(to output, o Options) *Writer {
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
		half:    make(chan struct{}, 1),
		closing: make(chan struct{}),
		done:    make(chan struct{}),
		notice: func(n uint64) []byte {
			return fmt.Appendf(nil, "%d log lines are missing here: they could not be written in time\n", n)
		},
	}
	go w.run()
	return w
}

// SetNotice replaces the line that stands where others are missing. format returns
// it, with its line end, and is called by the Writer's own goroutine.
func (w *Writer) SetNotice(format func(dropped uint64) []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.notice = format
}

// Reopen has the file of StartPath opened again before the next line. It does
// nothing for a Writer of another kind.
func (w *Writer) Reopen() {
	if d, ok := w.to.(*namedFile); ok {
		d.reopen()
	}
}

// Err returns why the last write, or the opening of the file, failed; nil if
// nothing has failed since something was last written.
func (w *Writer) Err() error {
	if err := w.problem.Load(); err != nil {
		return *err
	}
	return nil
}

// Dropped returns how many Writes have been lost, or written in part.
func (w *Writer) Dropped() uint64 { return w.dropped.Load() }

// Write queues a copy of p, which is one line with its line end, or drops it. It
// always returns len(p) and nil, so that nobody tries to report elsewhere what
// could not be logged here.
func (w *Writer) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.add(line{n: len(p), size: len(p) + lineOverhead}) {
		w.queue.text = append(w.queue.text, p...)
	}
	return len(p), nil
}

// Close writes what is queued, ends the goroutine, and reports whether everything
// was written; what was not counts as dropped. It takes 50 ms longer than within at
// most; a write(2) that blocks by then is left behind with its goroutine. Later
// Writes are dropped. A second call can only shorten the time of the first.
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
	if !w.ended {
		w.ended = true
		w.dropped.Add(uint64(w.unwritten))
	}
	return w.unwritten == 0 && w.missing == 0
}

// run writes lines until Close says that it is enough.
func (w *Writer) run() {
	defer close(w.done)
	if d, ok := w.to.(*namedFile); ok {
		defer d.close()
		if err := d.open(); err != nil {
			w.problem.Store(&err) // before the first line, to which it may matter
		}
	}
	var lines queue
	for {
		missing, ok := w.next(&lines)
		if !ok || missing > 0 && !w.deliver(w.noticeOf(missing)) || !w.writeAll(&lines) {
			return
		}
		lines.reset()
		w.written = time.Now()
	}
}

func (w *Writer) noticeOf(missing uint64) []byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.notice(missing)
}

// deliver writes lines, however long that takes. It says false when the time to
// end has come instead.
func (w *Writer) deliver(text []byte) bool {
	if d, ok := w.to.(*namedFile); ok {
		d.begin()
	}
	rest := text
	for len(rest) > 0 {
		left, bounded := w.left()
		if bounded && left <= 0 {
			return false
		}
		n, err := w.to.write(rest, min(left, patience))
		rest = rest[n:]
		if err == nil {
			w.problem.Store(nil)
		} else if !errors.Is(err, errFull) {
			w.problem.Store(&err)
		}
		switch {
		case err == nil, errors.Is(err, errFull):
		case len(rest) < len(text) && w.to.gone(err):
			// Whoever comes next would see half a line.
			w.dropped.Add(uint64(max(bytes.Count(rest, []byte("\n")), 1)))
			return true
		case bounded:
			return false // there will be no better time
		default:
			w.sleep(w.o.Retry) // it is left alone; Close gives it one last chance
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

// gather waits for further lines, until there are many or the time is over.
func (w *Writer) gather(wait time.Duration) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-w.half:
	case <-w.closing:
	}
}

// sleep waits until Close at most.
func (w *Writer) sleep(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-w.closing:
	}
}
