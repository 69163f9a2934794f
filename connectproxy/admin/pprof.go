package admin

import (
	"net/http"
	"net/http/pprof"
)

// Profiles answers with Go's profiles below /debug/pprof/. They are kept off
// the default mux, so that no other server of the process gives them away. The
// command line is left out: it may hold a token.
func Profiles() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("POST /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return mux
}
