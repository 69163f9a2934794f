package micro

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"connect-proxy/config"
)

func TestTrailersThatAClientAnnouncesAreSentOn(t *testing.T) {
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = fmt.Fprintf(w, "%q", r.Trailer)
	}))
	t.Cleanup(service.Close)
	p := start(t, &mesh{services: map[string]string{"web": service.Listener.Addr().String()}}, func(s *Server) {
		if err := s.Update(config.Micro{Allow: []string{"*"}, Namespace: "-", Handler: config.MicroProxy}); err != nil {
			t.Fatal(err)
		}
	})
	c := p.caller(t)
	c.send("POST /web/x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 7\r\nX-More: 8\r\n\r\n")
	if r, body, _ := c.answer(); body != `map["X-Sum":["7"]]` {
		t.Errorf("%s: the service has %s", r.Status, body)
	}
}
