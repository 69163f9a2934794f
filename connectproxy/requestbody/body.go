package requestbody

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"sync"
	"time"
)

// lingerTime is how long a client may go on sending after the answer to a request
// whose body was not read to its end: a reset would take the answer away.
const lingerTime = 500 * time.Millisecond

// A body that nobody wants is read before the answer if it is short and comes at once,
// so that the connection can be used again.
const (
	discardTime  = 100 * time.Millisecond
	discardBytes = 256 << 10
)

// Bounds are how long the body of a request may take. Zero means no bound.
type Bounds struct {
	Stall time.Duration // nothing of it comes while it is read
	Whole time.Duration // all of it
}

// Body is the body of a request of a server, which can be given up while somebody
// reads it. Its methods are safe for concurrent use.
type Body struct {
	body    io.ReadCloser
	ctx     context.Context // the request's
	control *http.ResponseController
	bounds  Bounds
	none    bool // there is no body
	old     bool // the request is of HTTP/1.0
	// expects is whether the client may wait for leave to send it.
	expects bool
	// short is whether it may be discarded: it is, and nobody waits for leave to send it.
	short bool

	reading sync.Mutex // held while something is read
	mu      sync.Mutex // guards what follows
	end     time.Time  // until when it may be read, for Bounds.Whole; zero for no bound
	begun   bool       // something was read, or was to be
	leave   bool       // a client that expects leave to send it has been given it, if ever
	ended   bool       // it was read to its end
	stopped bool       // nothing more is read
	lost    bool       // what it was sent on ended first
	err     error      // why the rest of it cannot be read
	on      *Conn      // what it is sent on; nil for nothing
}

// Follow returns what a handler is to use in place of the w and r of its server, and
// the body of r, whose End is called when the handler is done. The request is another
// one than r: the server looks at r to see whether a client waits for leave to send
// the body (RFC 9110, section 10.1.1), and would wait for it before it answers.
func Follow(w http.ResponseWriter, r *http.Request, bounds Bounds) (http.ResponseWriter, *http.Request, *Body) {
	control := http.NewResponseController(w)
	// Without this the server reads what it takes for the rest of the body before it
	// writes the answer, and the transport, to which that body is closed then, gives
	// up the connection in the middle of the answer.
	_ = control.EnableFullDuplex()
	b := &Body{body: r.Body, ctx: r.Context(), control: control, bounds: bounds, none: r.Body == nil || r.Body == http.NoBody, old: !r.ProtoAtLeast(1, 1)}
	b.expects = !b.none && r.Header.Get("Expect") != ""
	b.short = r.ContentLength > 0 && r.ContentLength <= discardBytes && !b.expects
	if bounds.Whole > 0 {
		b.end = time.Now().Add(bounds.Whole)
	}
	other := *r
	if !b.none {
		other.Body = b
	}
	return newWriter(w, r, b), &other, b
}

// Read is io.Reader's.
func (b *Body) Read(p []byte) (int, error) {
	b.reading.Lock()
	defer b.reading.Unlock()
	if err := b.begin(); err != nil {
		return 0, err
	}
	n, err := b.body.Read(p)
	b.gotLeave()
	if err != nil {
		b.recordReadError(err)
	}
	return n, err
}

// gotLeave notes that the client waits for leave to send the body no longer.
func (b *Body) gotLeave() {
	if b.expects {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.leave = true
	}
}

// awaitsLeave reports whether the client may be given leave to send the body at any moment,
// by the server when the body is read.
func (b *Body) awaitsLeave() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.expects && !b.leave
}

// begin has what is read next be there in time.
func (b *Body) begin() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.begun = true
	switch {
	case b.ended:
		return io.EOF
	case b.stopped:
		return http.ErrBodyReadAfterClose
	case b.on != nil && b.on.closed.Load():
		b.lost = true
		return http.ErrBodyReadAfterClose
	case !b.end.IsZero():
		return b.control.SetReadDeadline(b.end)
	case b.bounds.Stall > 0:
		return b.control.SetReadDeadline(time.Now().Add(b.bounds.Stall))
	}
	return nil
}

func (b *Body) recordReadError(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case errors.Is(err, io.EOF):
		b.ended = true
		if b.stopped || !b.end.IsZero() || b.bounds.Stall > 0 {
			// The connection outlives the body, and is watched from its end on.
			_ = b.control.SetReadDeadline(time.Time{})
		}
	case errors.Is(err, os.ErrDeadlineExceeded): // the service may have failed while it was waited for
	case b.err == nil:
		b.err = err
	}
}

// Close has nothing more be read, and returns when nobody does. The server closes
// what it has of the body itself.
func (b *Body) Close() error {
	b.stop()
	b.reading.Lock() // whoever has it is being told
	defer b.reading.Unlock()
	return nil
}

// stop has whoever reads give up.
func (b *Body) stop() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.none && !b.ended && !b.stopped {
		b.stopped = true
		_ = b.control.SetReadDeadline(time.Unix(1, 0))
	}
}

// End is called when the request has been answered, or is not going to be. What is
// left of the body is read for a moment by the server.
func (b *Body) End() {
	_ = b.Close()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.stopped && !b.ended {
		_ = b.control.SetReadDeadline(time.Now().Add(lingerTime))
	}
	if b.on != nil {
		b.on.carries.CompareAndSwap(b, nil)
	}
}

// discard reads a body of which nothing was read, if that is soon done.
func (b *Body) discard() {
	b.mu.Lock()
	wanted := !b.short || b.begun || b.stopped || b.on != nil
	if !wanted {
		b.end = time.Now().Add(discardTime)
	}
	b.mu.Unlock()
	if !wanted {
		_, _ = io.Copy(io.Discard, b)
	}
}

// unread reports whether something of the body has not been read, so that the server
// reads no further request from the connection. Nor does it once the body was stopped,
// even at its end: it may have been at the server's watch of the connection for the
// next request, which then calls everything on that connection off.
func (b *Body) unread() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return !b.none && (!b.ended || b.stopped)
}
