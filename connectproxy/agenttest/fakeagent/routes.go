package fakeagent

import (
	"net/http"
	"slices"
	"time"
)

// routes maps the endpoints. What the fake does not know is answered as an
// agent answers what it does not know.
func (a *Agent) routes() http.Handler {
	mux := http.NewServeMux()
	open := func(pattern string, wait time.Duration, compute func(*http.Request, question) answer) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			a.serve(w, r, wait, func(q question) answer { return compute(r, q) })
		})
	}
	closed := func(pattern string, wait time.Duration, compute func(*http.Request, question) answer) {
		open(pattern, wait, func(r *http.Request, q question) answer {
			if !a.permitted(r) {
				return answer{status: http.StatusForbidden, text: "Permission denied"}
			}
			return compute(r, q)
		})
	}
	open("GET /v1/agent/connect/ca/roots", cachedWait, a.rootsAnswer)
	closed("GET /v1/agent/connect/ca/leaf/{service}", cachedWait, a.leafAnswer)
	closed("GET /v1/connect/intentions/match", defaultWait, a.matchAnswer)
	closed("GET /v1/connect/intentions", defaultWait, a.intentionsAnswer)
	closed("POST /v1/agent/connect/authorize", 0, a.authorizeAnswer)
	closed("GET /v1/agent/services", 0, a.servicesAnswer)
	closed("GET /v1/agent/service/{id}", defaultWait, a.serviceAnswer)
	closed("PUT /v1/agent/service/register", 0, a.registerAnswer)
	closed("PUT /v1/agent/service/deregister/{id}", 0, a.deregisterAnswer)
	closed("PUT /v1/agent/check/update/{id}", 0, a.checkAnswer)
	closed("GET /v1/agent/self", 0, a.selfAnswer)
	closed("GET /v1/health/connect/{service}", defaultWait, a.healthAnswer)
	closed("GET /v1/query/{name}/execute", 0, a.queryAnswer)
	if a.managed {
		closed("GET /v1/agent/connect/proxy/{id}", defaultWait, a.proxyAnswer)
	}
	mux.HandleFunc("/", a.other)
	return mux
}

// permitted is called with the lock held.
func (a *Agent) permitted(r *http.Request) bool {
	return len(a.tokens) == 0 || slices.Contains(a.tokens, r.Header.Get("X-Consul-Token"))
}

func (a *Agent) other(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	body, known := a.extra[r.URL.Path]
	index := a.index
	a.mu.Unlock()
	if known {
		a.write(w, answer{body: body, index: index, headers: headers{meta: true}})
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(http.StatusNotFound)
	_, _ = w.Write([]byte("Invalid URL path: not a recognized HTTP API endpoint"))
}
