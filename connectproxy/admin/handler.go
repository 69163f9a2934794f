package admin

import (
	"encoding/json"
	"net/http"
)

// Report is one answer about the proxy.
type Report struct {
	// Ready says whether the proxy serves as it should.
	Ready bool
	// Reasons why not, a sentence each; empty when it is ready.
	Reasons []string
	// Details is everything else, as JSON; it must hold no secret.
	Details any
}

// Handler answers /health and /ready with what report says at the time. report
// must be safe for concurrent use.
func Handler(report func() Report) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, report().Details)
	})
	mux.HandleFunc("GET /ready", func(w http.ResponseWriter, _ *http.Request) {
		r := report()
		code := http.StatusOK
		if !r.Ready {
			code = http.StatusServiceUnavailable
		}
		reasons := r.Reasons
		if reasons == nil {
			// A list that is always a list is easier on scripts than null.
			reasons = []string{}
		}
		answer(w, code, struct {
			Ready   bool     `json:"ready"`
			Reasons []string `json:"reasons"`
		}{r.Ready, reasons})
	})
	return mux
}

func answer(w http.ResponseWriter, code int, body any) {
	text, err := json.MarshalIndent(body, "", "  ")
	if err != nil {
		http.Error(w, "encoding the answer: "+err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	// The client may be gone; there is nobody to tell.
	_, _ = w.Write(append(text, '\n'))
}
