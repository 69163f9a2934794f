package devagent

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"
)

const (
	// What Consul takes for a wait that is not asked for, of its servers and of
	// the agent's cache, and at most.
	serverWait  = 5 * time.Minute
	cacheWait   = 10 * time.Minute
	longestWait = 10 * time.Minute
	// bodyWithin is how long a request may take to come in.
	bodyWithin = 10 * time.Second
	// never is the wait of what does not block.
	never = time.Duration(0)
	// spread is the part of a wait that is added to it at random at most, so
	// that clients do not come back all at once.
	spread = 16
)

// answer is what an endpoint has to say at one moment.
type answer struct {
	// status is zero for 200. Any other comes at once, with text.
	status int
	text   string
	// body is encoded as JSON; nil is an empty body.
	body any
	// index or hash is what a blocking query blocks on, if there is one.
	index uint64
	hash  string
	// until is when the answer may change by itself; zero is never.
	until time.Time

	headers headers
	// elsewhere is that the API of this version has no such path.
	elsewhere bool
}

// headers are groups of headers that go together.
type headers struct {
	meta, consistency, cached bool
	// leaderless is a meta group of an answer that no server gave.
	leaderless bool
}

// blockingQuery is the blocking part of a request.
type blockingQuery struct {
	index uint64
	hash  string
	wait  time.Duration
}

// blockingPart reads what a request blocks on, where the endpoint would wait
// for that long by default.
func blockingPart(r *http.Request, wait time.Duration) (blockingQuery, string) {
	if wait == never {
		return blockingQuery{}, ""
	}
	q := blockingQuery{hash: r.URL.Query().Get("hash"), wait: wait}
	var err error
	if s := r.URL.Query().Get("index"); s != "" {
		if q.index, err = strconv.ParseUint(s, 10, 64); err != nil {
			return q, "Invalid index"
		}
	}
	if s := r.URL.Query().Get("wait"); s != "" {
		if q.wait, err = time.ParseDuration(s); err != nil {
			return q, "Invalid wait time"
		}
	}
	q.wait = max(min(q.wait, longestWait), 0)
	q.wait += rand.N(q.wait/spread + 1)
	return q, ""
}

// blocks reports whether the client has seen that answer already: an index that is
// not beyond the client's, or the same hash.
func (q blockingQuery) blocks(now answer) bool {
	if now.status != 0 || now.elsewhere {
		return false
	}
	return q.index > 0 && now.index > 0 && now.index <= q.index ||
		q.hash != "" && now.hash == q.hash
}

// serve answers with what compute says, called with the lock held, as soon as
// that is news to the client or its wait is over.
func (a *Agent) serve(w http.ResponseWriter, r *http.Request, wait time.Duration, compute func() answer) {
	q, problem := blockingPart(r, wait)
	if problem != "" {
		a.write(w, answer{status: http.StatusBadRequest, text: problem})
		return
	}
	body, err := readBody(w, r)
	if err != nil {
		a.write(w, a.badRequest("Request decode failed: "+err.Error()))
		return
	}
	over, cancel := context.WithTimeout(r.Context(), q.wait)
	defer cancel()
	for {
		r.Body = io.NopCloser(bytes.NewReader(body))
		a.mu.Lock()
		a.expire(time.Now())
		now := compute()
		changed := a.changed
		a.mu.Unlock()
		if !q.blocks(now) || over.Err() != nil {
			a.write(w, now)
			return
		}
		a.waitFor(over, changed, now.until)
		if r.Context().Err() != nil {
			return // nobody asks any more
		}
	}
}

// readBody reads all of a request, so that no slow client is waited for with the
// lock held.
func readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	if r.Body == nil || r.Body == http.NoBody {
		return nil, nil
	}
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Now().Add(bodyWithin)) // not every writer has one
	body, err := io.ReadAll(r.Body)
	_ = control.SetReadDeadline(time.Time{})
	return body, err
}

// waitFor waits until there may be another answer.
func (a *Agent) waitFor(over context.Context, changed <-chan struct{}, until time.Time) {
	var due <-chan time.Time
	if !until.IsZero() {
		timer := time.NewTimer(time.Until(until))
		defer timer.Stop()
		due = timer.C
	}
	select {
	case <-changed:
	case <-due:
	case <-over.Done():
	}
}
