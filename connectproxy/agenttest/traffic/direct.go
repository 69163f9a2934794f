package traffic

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"syscall"
)

// Direct is a way to a handler without a socket: it answers on the goroutine that
// asks, so that the clock of a synctest bubble goes on while a question is open.
type Direct struct{ Handler http.Handler }

var _ http.RoundTripper = Direct{}

// RoundTrip answers when the handler does. A request that a fault cuts finds no
// agent.
func (d Direct) RoundTrip(r *http.Request) (answer *http.Response, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			if e, ok := cause.(error); !ok || !errors.Is(e, http.ErrAbortHandler) {
				panic(cause)
			}
			answer, err = nil, syscall.ECONNREFUSED
		}
	}()
	served := r.Clone(r.Context())
	if r.Body == nil {
		served.Body = http.NoBody
	}
	defer served.Body.Close()
	w := httptest.NewRecorder()
	d.Handler.ServeHTTP(w, served)
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	answer = w.Result()
	answer.Request = r
	return answer, nil
}
