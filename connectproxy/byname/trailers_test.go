package byname_test

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestWhatAClientHasAnnouncedComesBehindItsBody(t *testing.T) {
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		announced := len(r.Trailer)
		b, err := io.ReadAll(r.Body)
		w.Header().Set("Trailer", "X-Answered")
		_, _ = fmt.Fprintf(w, "%d announced, %q %v, %q", announced, b, err, r.Trailer)
		w.Header().Set("X-Answered", "yes")
	}))
	t.Cleanup(service.Close)
	p := start(t, allowing("web"), &mesh{services: map[string]string{"web": service.Listener.Addr().String()}})
	for request, want := range map[string]string{
		"Transfer-Encoding: chunked\r\nTrailer: X-Sum, X-None\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 7\r\nX-Sum: 8\r\nHost: secret\r\nContent-Length: 9\r\n\r\n": `2 announced, "abc" <nil>, map["X-None":[] "X-Sum":["7" "8"]]`,
		"Transfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n0\r\nX-Sum: 7\r\n\r\n":                                                                      `1 announced, "" <nil>, map["X-Sum":["7"]]`,
		"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 7\r\n\r\n":                                                                            `0 announced, "abc" <nil>, map[]`,
		"Content-Length: 3\r\nTrailer: X-Sum\r\n\r\nabc":                                                                                                 `0 announced, "abc" <nil>, map[]`,
		"Content-Length: 3\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 7\r\n\r\n":                                     `1 announced, "abc" <nil>, map["X-Sum":["7"]]`,
	} {
		c := p.dial(t)
		r, body := exchange(t, c, bufio.NewReader(c), "POST http://web/ HTTP/1.1\r\nHost: web\r\n"+request)
		if body != want || r.Trailer.Get("X-Answered") != "yes" {
			t.Errorf("%q: the service has %s, want %s; the client has %q", request, body, want, r.Trailer)
		}
		_ = c.Close()
	}
}
