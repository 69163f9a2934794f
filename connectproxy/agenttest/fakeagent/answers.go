package fakeagent

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"
)

const (
	rootsPath = "/v1/agent/connect/ca/roots"
	leafPath  = "/v1/agent/connect/ca/leaf/"
)

// Answer has a path answered at once with body as JSON, whatever the agent
// would say, and whatever the question waits for.
func (a *Agent) Answer(path string, body any) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.answers[path] = body
}

// answer is the agent's answer, or the test's.
func (a *Agent) answer(w http.ResponseWriter, r *http.Request) {
	newer := r.URL.Query().Has("index")
	a.mu.Lock()
	body, said := a.answers[r.URL.Path]
	if old, ok := a.frozen[r.URL.Path]; ok && newer {
		body, said = old, true
	}
	stuck := a.stuck && !newer && strings.HasPrefix(r.URL.Path, leafPath)
	a.mu.Unlock()
	if stuck && !sleep(r) {
		return
	}
	if !said {
		a.dev.Handler().ServeHTTP(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Consul-Index", "7") // any: it makes nothing wait
	_ = json.NewEncoder(w).Encode(body)   // an error is the client's going away
}

// sleep passes as much time as the question would wait for; false is that
// nobody asks any more.
func sleep(r *http.Request) bool {
	wait, err := time.ParseDuration(r.URL.Query().Get("wait"))
	if err != nil {
		wait = time.Minute
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-r.Context().Done():
		return false
	}
}

// do asks the agent itself, past the faults, the counts and what the test has
// said.
func (a *Agent) do(method, path string, in, out any) {
	a.t.Helper()
	var body bytes.Buffer
	if in != nil {
		if err := json.NewEncoder(&body).Encode(in); err != nil {
			a.t.Fatalf("%s %s: %v", method, path, err)
		}
	}
	r := httptest.NewRequestWithContext(a.t.Context(), method, "http://127.0.0.1"+path, &body)
	w := httptest.NewRecorder()
	a.dev.Handler().ServeHTTP(w, r)
	if w.Code != http.StatusOK {
		a.t.Fatalf("%s %s: %d %s", method, path, w.Code, w.Body)
	}
	if out == nil {
		return
	}
	if err := json.Unmarshal(w.Body.Bytes(), out); err != nil {
		a.t.Fatalf("%s %s: %v", method, path, err)
	}
}
