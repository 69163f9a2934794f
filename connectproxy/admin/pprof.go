package admin

import (
	"net/http"
	"net/http/pprof"
)

// Profiles returns the pages of net/http/pprof below /debug/pprof/, which go on no
// default mux, so that no other server of the process gives them away. The command
// line is left out: it may hold a token.
func Profiles() Pages {
	return Pages{
		"GET /debug/pprof/":        http.HandlerFunc(pprof.Index),
		"GET /debug/pprof/profile": http.HandlerFunc(pprof.Profile),
		"GET /debug/pprof/symbol":  http.HandlerFunc(pprof.Symbol),
		"POST /debug/pprof/symbol": http.HandlerFunc(pprof.Symbol),
		"GET /debug/pprof/trace":   http.HandlerFunc(pprof.Trace),
	}
}
