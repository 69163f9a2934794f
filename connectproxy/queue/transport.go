package queue

import (
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

const (
	// shortWait is the longest time that a question may wait for a change and
	// still count as one that is answered at once.
	shortWait = 2 * time.Second
	// defaultWait is an agent's for a question that names none.
	defaultWait = 5 * time.Minute
	// idle is how long a connection without a question is kept: longer than
	// the time between two questions of a proxy at rest.
	idle = 15 * time.Second
)

// Transport carries questions to one agent. It is safe for concurrent use.
type Transport struct {
	// Observe is told what each question that was put came to: an answer, whose
	// body is not its to read, or an error. Nil means nobody; it is set before the
	// first question, and must not block.
	Observe func(*http.Request, *http.Response, error)

	base      *http.Transport
	admission admission
	outage    outage
}

var _ http.RoundTripper = (*Transport)(nil)

// New takes base over, which has not been used yet: it opens no more than
// MaxConnections from then on. A nil logger is told nothing.
func New(base *http.Transport, logger hclog.Logger) *Transport {
	if logger == nil {
		logger = hclog.NewNullLogger()
	}
	base.MaxConnsPerHost = MaxConnections
	base.MaxIdleConnsPerHost = MaxConnections
	base.IdleConnTimeout = idle
	// The agent is on the same machine, where packing costs more than it saves.
	base.DisableCompression = true
	return &Transport{base: base, outage: outage{logger: logger}}
}

// RoundTrip waits for the request's turn. The connection is the request's until
// the answer's body is closed.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	l, wait := laneOf(r)
	if err := t.admission.acquire(r.Context(), l); err != nil {
		return nil, err
	}
	trying, err := t.outage.admit(time.Now())
	if err != nil {
		t.admission.release(l, 0)
		return nil, err
	}
	deadline := time.Now().Add(wait)
	resp, err := t.base.RoundTrip(r)
	if t.Observe != nil {
		t.Observe(r, resp, err)
	}
	switch {
	case err != nil && r.Context().Err() != nil:
		if trying {
			t.outage.abandoned()
		}
		// What waits for a change goes on doing so at the agent, which does not
		// see that nobody listens any more.
		lingers := time.Duration(0)
		if l == held {
			lingers = time.Until(deadline)
		}
		t.admission.release(l, lingers)
		return nil, err
	case err != nil:
		t.admission.release(l, 0)
		return nil, t.outage.failed(err, trying, time.Now())
	case resp.StatusCode == http.StatusTooManyRequests:
		err := tooMany(firstLine(resp.Body))
		resp.Body.Close()
		t.admission.release(l, 0)
		return nil, t.outage.failed(err, trying, time.Now())
	}
	t.outage.answered(time.Now())
	resp.Body = &body{ReadCloser: resp.Body, leave: sync.OnceFunc(func() { t.admission.release(l, 0) })}
	return resp, nil
}

// Outages counts how often the agent ceased to be reachable. It is noticed at once
// where a question is held.
func (t *Transport) Outages() uint64 {
	t.outage.mu.Lock()
	defer t.outage.mu.Unlock()
	return t.outage.begun
}

// CloseIdleConnections is what http.Client's calls.
func (t *Transport) CloseIdleConnections() { t.base.CloseIdleConnections() }

// body ends its request's turn when it is closed.
type body struct {
	io.ReadCloser
	leave func()
}

func (b *body) Close() error {
	defer b.leave()
	return b.ReadCloser.Close()
}

// laneOf sorts a request by what it costs the agent, and says how long it asks
// the agent to wait at most.
func laneOf(r *http.Request) (lane, time.Duration) {
	q := r.URL.Query()
	if r.Method == http.MethodGet && (q.Get("index") != "" || q.Get("hash") != "") {
		wait, err := time.ParseDuration(q.Get("wait"))
		if err != nil || wait <= 0 {
			wait = defaultWait
		}
		if wait > shortWait {
			return held, wait + wait/16 // an agent adds up to a sixteenth
		}
	}
	path := strings.TrimPrefix(r.URL.Path, "/v1/")
	kind, _, _ := strings.Cut(path, "/")
	switch {
	case kind == "agent":
		return local, 0
	case kind == "query", q.Get("dc") != "": // a query may fail over
		return remote, 0
	}
	return server, 0
}

// firstLine is the beginning of what the agent says.
func firstLine(r io.Reader) string {
	text, _ := io.ReadAll(io.LimitReader(r, 200))
	line, _, _ := strings.Cut(strings.TrimSpace(string(text)), "\n")
	return line
}
