package micro

import (
	"bufio"
	"context"
	"io"
	"math"
	"net"
	"net/http"
	"time"

	"connect-proxy/config"
	"connect-proxy/listener"
	"connect-proxy/listener/secure"
)

// lastWord is how long the answer of a service that takes no more of a message is
// waited for.
const lastWord = time.Second

// far is a connection to an instance of a service. It has one call at a time. One
// goroutine reads from it for as long as it is open, so that its end is seen
// between calls too.
type far struct {
	net.Conn
	to     config.Destination
	stall  time.Duration
	reader *bufio.Reader
	header *headerLimit
	calls  chan *exchange // holds one
	broken chan struct{}  // closed when nothing more is read
	// What follows is set before broken is closed.
	err      error // why
	answered bool  // something has come
	// idle ends it between two calls, which it is since; both are the session's.
	idle  *time.Timer
	since time.Time
	// generation is the server's at the time that it was dialled.
	generation int64
}

// exchange is a call and its answer.
type exchange struct {
	far    *far
	answer chan *http.Response // holds one
	done   chan bool           // holds one: whether the connection can be used again
	stop   func() bool         // of the watch over the call's context
	cut    bool                // the message was not written to its end
}

// asked is what answers are read as the answers of.
var asked = &http.Request{Method: http.MethodPost}

func newFar(to config.Destination, c net.Conn, stall time.Duration) *far {
	f := &far{
		stall:  stall,
		Conn:   c,
		to:     to,
		header: &headerLimit{r: c},
		calls:  make(chan *exchange, 1),
		broken: make(chan struct{}),
	}
	f.reader = bufio.NewReader(f.header)
	return f
}

// send sends a message and returns its exchange with the header of the answer.
// After a failure the connection is closed.
func (f *far) send(ctx context.Context, m *message) (*exchange, *http.Response, *failure) {
	x := &exchange{far: f, answer: make(chan *http.Response, 1), done: make(chan bool, 1)}
	f.calls <- x
	x.stop = context.AfterFunc(ctx, f.abort)
	if err := m.writeTo(&stalling{w: f.Conn, limit: f.SetWriteDeadline, stall: f.stall}); err != nil {
		x.cut = true
		defer time.AfterFunc(lastWord, f.abort).Stop()
	}
	select {
	case response := <-x.answer:
		return x, response, nil
	case <-f.broken:
		x.stop()
		return nil, nil, f.failure(ctx)
	}
}

// failure is why a call was not answered.
func (f *far) failure(ctx context.Context) *failure {
	switch r := listener.ReasonOf(f.err); r {
	case listener.ReasonUpstreamDenied, listener.ReasonUpstreamUnavailable:
		if !f.answered { // the far proxy has turned the connection away
			return undelivered(r, f.err)
		}
	}
	return notAnswered(ctx, f.err)
}

// end gives the connection back, and reports whether it can be used again: not where
// the service would take the next message for the rest of this one.
func (x *exchange) end(reusable bool) bool {
	if !x.stop() || x.cut {
		reusable = false
	}
	if !reusable {
		x.far.abort()
	}
	x.done <- reusable
	return reusable
}

// read takes answers off the connection until it ends, and closes it.
func (f *far) read() {
	f.err = f.readAnswers()
	_ = f.Close()
	close(f.broken)
}

func (f *far) readAnswers() error {
	for {
		x, err := f.next()
		if err != nil {
			return err
		}
		response, err := f.readHeader()
		if err != nil {
			return err
		}
		x.answer <- response
		if !<-x.done {
			return errGivenUp
		}
	}
}

// next waits for the first byte of an answer and returns who waits for it.
func (f *far) next() (*exchange, error) {
	f.header.left = maxHeader
	if _, err := f.reader.Peek(1); err != nil {
		return nil, err
	}
	f.answered = true
	select {
	case x := <-f.calls:
		return x, nil
	default:
		return nil, errUnasked
	}
}

// readHeader reads the header of an answer, past those that only announce it.
func (f *far) readHeader() (*http.Response, error) {
	for {
		response, err := http.ReadResponse(f.reader, asked)
		switch {
		case err != nil:
			return nil, err
		case response.StatusCode == http.StatusSwitchingProtocols:
			return nil, errSwitched
		case response.StatusCode < 100:
			return nil, errStatus
		case response.StatusCode >= http.StatusOK:
			f.header.left = math.MaxInt64
			return response, nil
		}
	}
}

// abort breaks the connection off, whatever is under way on it.
func (f *far) abort() { secure.Abort(f.Conn) }

// isBroken reports whether the connection has ended.
func (f *far) isBroken() bool {
	select {
	case <-f.broken:
		return true
	default:
		return false
	}
}

// headerLimit reads no more than what is left. It is set anew for each message.
type headerLimit struct {
	r    io.Reader
	left int64
}

func (h *headerLimit) Read(p []byte) (int, error) {
	if h.left <= 0 {
		return 0, errLongHeader
	}
	if int64(len(p)) > h.left {
		p = p[:h.left]
	}
	n, err := h.r.Read(p)
	h.left -= int64(n)
	return n, err
}
