package fakeagent

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"time"
)

const (
	// What Consul takes for a wait that is not asked for, and at most.
	defaultWait = 5 * time.Minute
	cachedWait  = 10 * time.Minute
	longestWait = 10 * time.Minute
)

// answer is what an endpoint has to say at one moment.
type answer struct {
	// status is zero for 200. Any other comes at once, with text.
	status int
	text   string
	body   any
	// index or hash is what a blocking query blocks on, if there is one.
	index uint64
	hash  string
	// until is when the answer changes by itself; zero is never.
	until time.Time
	// hold keeps a query from being answered before its wait is over.
	hold bool

	headers headers
}

// headers are groups of headers that go together.
type headers struct{ meta, consistency, cached bool }

// question is the blocking part of a request.
type question struct {
	index uint64
	hash  string
	wait  time.Duration
}

func ask(r *http.Request, wait time.Duration) (question, error) {
	q := question{hash: r.URL.Query().Get("hash"), wait: wait}
	var err error
	if s := r.URL.Query().Get("index"); s != "" {
		if q.index, err = strconv.ParseUint(s, 10, 64); err != nil {
			return q, err
		}
	}
	if s := r.URL.Query().Get("wait"); s != "" {
		if q.wait, err = time.ParseDuration(s); err != nil {
			return q, err
		}
	}
	q.wait = min(q.wait, longestWait)
	if wait == 0 {
		// An endpoint that never blocks, whatever it is asked.
		return question{}, nil
	}
	return q, nil
}

// blocks says whether the client has seen that answer already. A hash that is
// the same blocks, an index that is not beyond the client's does.
func (q question) blocks(now answer) bool {
	if now.status != 0 {
		return false
	}
	return now.hold ||
		q.index > 0 && now.index > 0 && now.index <= q.index ||
		q.hash != "" && now.hash == q.hash
}

// serve answers with what compute says, called with the lock held, as soon as
// that is news to the client or its wait is over.
func (a *Agent) serve(w http.ResponseWriter, r *http.Request, wait time.Duration, compute func(question) answer) {
	q, err := ask(r, wait)
	if err != nil {
		http.Error(w, "Invalid wait time or index", http.StatusBadRequest)
		return
	}
	over, cancel := context.WithTimeout(r.Context(), q.wait)
	defer cancel()
	for first := -1; ; {
		a.mu.Lock()
		now, changed, rewinds := compute(q), a.changed, a.rewinds
		a.mu.Unlock()
		if first < 0 {
			first = rewinds
		}
		if !q.blocks(now) || over.Err() != nil || rewinds != first {
			a.write(w, now)
			return
		}
		if !a.waitFor(r.Context(), over, changed, now.until) {
			return
		}
	}
}

// waitFor waits until there may be another answer; false is that nobody asks
// any more.
func (a *Agent) waitFor(client, over context.Context, changed <-chan struct{}, until time.Time) bool {
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
	case <-a.ended:
		return false
	}
	return client.Err() == nil
}

func (a *Agent) write(w http.ResponseWriter, now answer) {
	h := w.Header()
	h.Set("Vary", "Accept-Encoding")
	if !a.managed {
		a.mu.Lock()
		h.Set("X-Consul-Default-Acl-Policy", a.policy)
		a.mu.Unlock()
	}
	a.setHeaders(h, now)
	if now.status != 0 {
		h.Set("Content-Type", "text/plain; charset=utf-8")
		w.WriteHeader(now.status)
		_, _ = w.Write([]byte(now.text))
		return
	}
	if now.body == nil {
		return
	}
	h.Set("Content-Type", "application/json")
	// An error is the client's going away.
	_ = json.NewEncoder(w).Encode(now.body)
}

func (a *Agent) setHeaders(h http.Header, now answer) {
	if now.headers.meta {
		h.Set("X-Consul-Knownleader", "true")
		h.Set("X-Consul-Lastcontact", "0")
		if !a.managed {
			h.Set("X-Consul-Query-Backend", "blocking-query")
		}
	}
	if now.headers.consistency {
		h.Set("X-Consul-Effective-Consistency", "leader")
	}
	if now.headers.cached {
		h.Set("X-Cache", "HIT")
		h.Set("Age", "0")
	}
	if now.index > 0 {
		h.Set("X-Consul-Index", strconv.FormatUint(now.index, 10))
	}
	if now.hash != "" {
		h.Set("X-Consul-Contenthash", now.hash)
	}
}
