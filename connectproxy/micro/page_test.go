package micro

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// pages answers with the path, and leaves deadlines that are over.
var pages = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	c := http.NewResponseController(w)
	_ = c.SetWriteDeadline(time.Now().Add(10 * time.Second))
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	_, _ = fmt.Fprint(w, r.URL.Path)
})

func TestPagesAreShownToPeopleHereAndNothingCanBeDoneByThem(t *testing.T) {
	p := start(t, &mesh{}, func(s *Server) { s.o.Pages = pages })
	for what, tc := range map[string]struct {
		verb, path string
		headers    []string
		want       int
	}{
		"the dashboard":            {"GET", "/stats", nil, 303},
		"of a browser":             {"GET", "/stats/", []string{"Sec-Fetch-Site: none", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document"}, 200},
		"what it asks for":         {"GET", "/stats/proxy", []string{"Sec-Fetch-Site: same-origin"}, 200},
		"health":                   {"GET", "/health", nil, 200},
		"a change":                 {"POST", "/stats/loglevel", nil, 405},
		"by another verb":          {"DELETE", "/health", nil, 405},
		"for another site's page":  {"GET", "/stats/proxy", []string{"Sec-Fetch-Site: cross-site"}, 403},
		"for another port's page":  {"GET", "/stats/proxy", []string{"Sec-Fetch-Site: same-site"}, 403},
		"with an origin":           {"GET", "/health", []string{"Origin: http://127.0.0.1"}, 403},
		"under another site's":     {"GET", "/stats/proxy", []string{"Host: example.com"}, 403},
		"a call of service stats2": {"POST", "/stats2/go", []string{"Content-Type: application/json"}, 404},
	} {
		r, err := http.NewRequestWithContext(t.Context(), tc.verb, "http://"+p.address()+tc.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, h := range tc.headers {
			k, v, _ := strings.Cut(h, ": ")
			if k == "Host" {
				r.Host = v
			}
			r.Header.Set(k, v)
		}
		tr := &http.Transport{DisableKeepAlives: true}
		answer, err := tr.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		said, _ := io.ReadAll(answer.Body)
		_ = answer.Body.Close()
		if strings.HasPrefix(what, "under ") && !strings.Contains(string(said), "under localhost") {
			t.Errorf("%s: %q", what, said)
		}
		if answer.StatusCode != tc.want {
			t.Errorf("%s: %s, want %d", what, answer.Status, tc.want)
		}
	}
}

func TestPagesAreNotShownToOtherMachines(t *testing.T) {
	for address, want := range map[string]bool{
		"127.0.0.1:5": true, "[::1]:5": true, "[::ffff:127.0.0.1]:5": true, "@": true, "": true, "192.0.2.7:5": false, "[2001:db8::1]:5": false,
	} {
		if got := fromThisMachine(&http.Request{RemoteAddr: address}); got != want {
			t.Errorf("%q: %t", address, got)
		}
	}
}

func TestThePagesOfAConnectionLeaveItsCallsAlone(t *testing.T) {
	s := newService(t, "greeter")
	p := start(t, &mesh{services: map[string]string{"greeter": s.Addr()}}, func(s *Server) {
		s.o.Pages = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			pages(w, r)
			_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(500 * time.Millisecond))
		})
	})
	c := p.caller(t)
	c.send("GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
	if r, body, _ := c.answer(); r.StatusCode != http.StatusOK || body != "/health" {
		t.Fatalf("%s %s", r.Status, body)
	}
	select {
	case <-time.After(600 * time.Millisecond): // the page's deadline is over
	case <-t.Context().Done():
	}
	c.send("GET /stats HTTP/1.1\r\nHost: localhost\r\n\r\n")
	if r, _, _ := c.answer(); r.StatusCode != http.StatusSeeOther {
		t.Errorf("afterwards: %s", r.Status)
	}
}
