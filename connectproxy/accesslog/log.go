package accesslog

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"connect-proxy/config"
	"connect-proxy/connectproxy/logwriter"
	"connect-proxy/listener"
)

// lastRecords is how long a writer that is replaced may take to write what it
// has.
const lastRecords = 5 * time.Second

// writing has records that come soon after others wait a moment, since a write for
// each would cost more than all else about it.
var writing = logwriter.Options{Size: 512 << 10, Gather: 50 * time.Millisecond}

// Options describe a Log.
type Options struct {
	// Stdout takes records unless the configuration names another place, Stderr
	// those that it sends there. Both are required, and are not closed. An *os.File
	// and a *logwriter.Writer are written to without ever blocking; any other is
	// called by one goroutine.
	Stdout, Stderr io.Writer
	// JSON has records written in JSON where the configuration gives no format;
	// otherwise they are text.
	JSON bool
}

// Log writes access records. Its methods are safe for concurrent use. The zero
// value is not usable; see New.
type Log struct {
	o Options

	mu     sync.RWMutex // guards what follows
	given  config.AccessLog
	format format // nil while nothing is to be logged
	writer *logwriter.Writer
	closed bool

	dropped atomic.Uint64 // by writers that were replaced
	ending  sync.WaitGroup
}

// New makes a Log that logs nothing until Update. It starts nothing.
func New(o Options) *Log { return &Log{o: o} }

// Update puts another configuration in force for connections that end from then
// on, and opens the file that it names. It returns a sentence for each setting that
// cannot be honoured, and an error where a format cannot be used, in which case the
// former configuration stays in force. A file that cannot be opened is a Problem.
// After Close it does nothing.
func (l *Log) Update(c config.AccessLog) (warnings []string, err error) {
	f, warnings, err := newFormat(c, l.o.JSON)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return warnings, nil
	}
	var old *logwriter.Writer
	if l.writer == nil || destinationOf(c) != destinationOf(l.given) || c.Off() {
		old, l.writer = l.writer, nil
	}
	if l.writer == nil && !c.Off() {
		l.writer = l.start(c)
	}
	if l.writer != nil {
		l.writer.SetNotice(f.missing)
	}
	l.given, l.format = c, f
	if old != nil {
		soFar := old.Dropped() // at once: a count that goes down for a while misleads
		l.dropped.Add(soFar)
		l.ending.Go(func() {
			old.Close(lastRecords)
			l.dropped.Add(old.Dropped() - soFar)
		})
	}
	return warnings, nil
}

// destinationOf is where c has records written.
func destinationOf(c config.AccessLog) [2]string { return [2]string{string(c.Type), c.Path} }

func (l *Log) start(c config.AccessLog) *logwriter.Writer {
	switch c.Type {
	case config.AccessLogFile:
		return logwriter.StartPath(c.Path, writing)
	case config.AccessLogStderr:
		return startWriter(l.o.Stderr)
	}
	return startWriter(l.o.Stdout)
}

func startWriter(to io.Writer) *logwriter.Writer {
	switch to := to.(type) {
	case *os.File:
		return logwriter.Start(to, writing)
	case *logwriter.Writer:
		return to.Another(writing)
	}
	return logwriter.StartWriter(to, writing)
}

// Reopen has a log file opened again before the next record, as after a rotation.
// Without it that is done for the first record a second after the file was last
// looked at. It does nothing where records do not go to a file.
func (l *Log) Reopen() {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.writer != nil {
		l.writer.Reopen()
	}
}

// Dropped returns how many records have been lost since New because they could not
// be written in time.
func (l *Log) Dropped() uint64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	n := l.dropped.Load()
	if l.writer != nil {
		n += l.writer.Dropped()
	}
	return n
}

// Problem returns why records cannot be written at the moment, with the file's or
// stream's name; nil if nothing is wrong, or nothing is to be logged.
func (l *Log) Problem() error {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.writer == nil {
		return nil
	}
	err := l.writer.Err()
	if err != nil && l.given.Type != config.AccessLogFile { // its error has the path
		err = fmt.Errorf("write %s: %w", cmp.Or(l.given.Type, config.AccessLogStdout), err)
	}
	return err
}

// Close writes what has been recorded, takes about as long as within at most, and
// reports whether that was everything. Connections that end later are not recorded.
// Further calls return once the goroutines of former writers have ended.
func (l *Log) Close(within time.Duration) bool {
	l.mu.Lock()
	w := l.writer
	l.closed, l.writer, l.format = true, nil, nil
	l.mu.Unlock()
	all := true
	if w != nil {
		all = w.Close(within)
		l.dropped.Add(w.Dropped())
	}
	ended := make(chan struct{})
	go func() { defer close(ended); l.ending.Wait() }()
	timer := time.NewTimer(within)
	defer timer.Stop()
	select {
	case <-ended:
		return all
	case <-timer.C: // a write(2) blocks
		return false
	}
}

// Direction says which way a listener's connections go.
type Direction string

const (
	// Inbound connections come from the mesh and go to the local application.
	Inbound Direction = "inbound"
	// Outbound connections come from the local application and go into the mesh.
	Outbound Direction = "outbound"
)

// ListenerInfo describes a listener whose connections are logged.
type ListenerInfo struct {
	// Direction is that of its connections.
	Direction Direction
	// Service is the name of the proxy's own, Destination an upstream's. The latter
	// is empty for Inbound, and where each connection names its own.
	Service, Destination string
	// Intention returns why the peer of a SPIFFE ID may connect or may not, as
	// whoever decided said it, or ""; nil where nobody knows. It must not block, and
	// must be safe for concurrent use.
	Intention func(peer string) string
}

// Observer returns what records the connections of the listener that s describes.
// It follows each Update, and never blocks.
func (l *Log) Observer(s ListenerInfo) listener.Observer { return &observer{l, s} }

type observer struct {
	log    *Log
	source ListenerInfo
}

var _ listener.Observer = (*observer)(nil)

func (*observer) ConnOpened(listener.Open) {}

func (o *observer) ConnClosed(s listener.Summary) {
	l := o.log
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.writer == nil || !wanted(l.given, s.Reason) {
		return
	}
	r := newQueuedRecord(s, &o.source, l.format)
	if !l.writer.Queue(r, r.boundTexts()) {
		r.forget()
	}
}

// wanted reports whether c has connections that ended for r logged.
func wanted(c config.AccessLog, r listener.Reason) bool {
	if c.DisableListenerLogs {
		switch r {
		case listener.ReasonSilent, listener.ReasonHandshakeFailed,
			listener.ReasonHandshakeTimeout, listener.ReasonHandshakeEvicted:
			return false // Envoy knows these by its listener, and not by a filter chain
		}
	}
	if c.Connections == config.AccessLogErrors {
		return r != listener.ReasonClosed && r != listener.ReasonSilent
	}
	return true
}
