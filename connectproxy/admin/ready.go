package admin

import "net/http"

// Report is one answer about the proxy.
type Report struct {
	// Ready is set while the proxy serves as it should.
	Ready bool
	// Reasons why not, a sentence each; empty when it is ready.
	Reasons []string
	// Warnings are what is wrong that does not keep it from being ready; they may be
	// nil.
	Warnings []string
	// Details is what /health shows, as encoding/json has it. It must hold no
	// secret.
	Details any
}

// Readiness returns the pages /health and /ready, which answer with what report
// says at the time. report must be safe for concurrent use and not block.
func Readiness(report func() Report) Pages {
	return Pages{
		"GET /health": http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			WriteJSON(w, http.StatusOK, report().Details)
		}),
		"GET /ready": http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { ready(w, report()) }),
	}
}

func ready(w http.ResponseWriter, r Report) {
	code := http.StatusOK
	if !r.Ready {
		code = http.StatusServiceUnavailable
	}
	if r.Reasons == nil {
		// A list that is always a list is easier on scripts than null.
		r.Reasons = []string{}
	}
	WriteJSON(w, code, struct {
		Ready   bool     `json:"ready"`
		Reasons []string `json:"reasons"`
		// Warnings are left out where there are none.
		Warnings []string `json:"warnings,omitempty"`
	}{r.Ready, r.Reasons, r.Warnings})
}

// ReadyAlone returns the page /ready as Envoy's admin interface has it, for
// programs that wait for an Envoy: 200 and LIVE, or 503 and what state reports.
// state must be safe for concurrent use.
func ReadyAlone(state func() State) Pages {
	return Pages{"GET /ready": http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		code, s := http.StatusOK, state()
		if s != Live {
			code = http.StatusServiceUnavailable
		}
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		w.WriteHeader(code)
		_, _ = w.Write([]byte(s + "\n")) // the client may be gone
	})}
}

// State is how a proxy is, by the names of Envoy's envoy.admin.v3.ServerInfo.State.
type State string

// The states of a proxy.
const (
	// Initializing is one that is not ready, at its start or later.
	Initializing State = "INITIALIZING"
	// Live is one that serves as it should.
	Live State = "LIVE"
	// Draining is one that was asked to stop.
	Draining State = "DRAINING"
)

// StateOf returns the state of a proxy that is ready or not, and draining or not.
func StateOf(ready, draining bool) State {
	switch {
	case draining:
		return Draining
	case !ready:
		return Initializing
	}
	return Live
}
