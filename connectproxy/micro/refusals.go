package micro

import (
	"net/http"
	"time"
)

// maxLogged bounds what a client calls a service, in a log, in bytes. It is as long
// as the name of a service may be.
const maxLogged = 255

// refused logs a call that clients may not make. A stream's refusal is its
// connection's, which the listener logs.
func (s *Server) refused(r *http.Request, service string, f *failure) {
	if f.code != http.StatusForbidden {
		return
	}
	logged, left := s.refusals.Take(time.Now())
	if !logged {
		return
	}
	args := []any{"client", r.RemoteAddr, "service", service[:min(len(service), maxLogged)], "status", f.code, "error", f}
	if left > 0 {
		args = append(args, "suppressed", left)
	}
	s.o.Logger.Warn("call refused", args...)
}
