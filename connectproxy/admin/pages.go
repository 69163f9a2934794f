package admin

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
)

// Pages are the handlers of a Server, by the pattern of http.ServeMux that each
// answers: "GET /ready". What changes something is a POST; there are no other
// methods. A handler must be safe for concurrent use.
type Pages map[string]http.Handler

func (p Pages) mux() (*http.ServeMux, error) {
	mux := http.NewServeMux()
	for pattern, h := range p {
		method, path, ok := strings.Cut(pattern, " ")
		if !ok || method != http.MethodGet && method != http.MethodPost || !strings.HasPrefix(path, "/") {
			return nil, fmt.Errorf("page %q is not GET or POST and a path", pattern)
		}
		mux.Handle(pattern, h)
	}
	return mux, nil
}

// Shown are the pages that only show something and soon end: those of GET, without
// profiles.
func (p Pages) Shown() Pages {
	shown, profiles := make(Pages, len(p)), Profiles()
	for pattern, h := range p {
		if _, profile := profiles[pattern]; strings.HasPrefix(pattern, http.MethodGet+" ") && !profile {
			shown[pattern] = h
		}
	}
	return shown
}

// Handler answers for the pages as a Server does, for another server that has seen
// to it that who asks may. An error names a page that has no method.
func (p Pages) Handler() (http.Handler, error) {
	mux, err := p.mux()
	if err != nil {
		return nil, err
	}
	return guarded(mux), nil
}

// WriteJSON answers with the status code and body as indented JSON, which no cache
// is to keep. A body that encoding/json refuses becomes status 500; an error of
// writing is dropped, since the client has gone then.
func WriteJSON(w http.ResponseWriter, code int, body any) {
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
