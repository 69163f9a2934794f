package byname_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"connect-proxy/listener/listenertest"
)

func TestNothingIsReadBehindARequestThatAProxyInFrontMaySeeEndElsewhere(t *testing.T) {
	p := start(t, allowing("web"), &mesh{services: map[string]string{"web": app(t)}})
	const next = "GET /smuggled HTTP/1.1\r\nHost: web\r\n\r\n"
	for _, request := range []string{
		"GET / HTTP/1.0\r\nHost: web\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n",
		"POST / HTTP/1.0\r\nHost: web\r\nConnection: keep-alive\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nabc",
		"POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 60\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: denied\r\nContent-Length: 60\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
	} {
		c := p.dial(t)
		_, _ = io.WriteString(c, request+next)
		got := rest(t, c)
		if strings.Count(got, "HTTP/1.") != 1 || !strings.Contains(got, "Connection: close\r\n") || strings.Contains(got, "smuggled") {
			t.Errorf("%q and another: %q", request, got)
		}
		_ = c.Close()
	}
}

func TestAClientOfHTTP10GetsOneAnswerAndNoOtherProtocol(t *testing.T) {
	early := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", "</style.css>")
		w.WriteHeader(http.StatusEarlyHints)
		w.WriteHeader(http.StatusProcessing)
		_, _ = fmt.Fprintf(w, "%q", r.Header["Upgrade"])
	}))
	t.Cleanup(early.Close)
	switching := listenertest.NewServer(t, func(c *net.TCPConn) {
		_, _ = c.Read(make([]byte, 4096))
		_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\n")
	})
	p := start(t, allowing("*"), &mesh{services: map[string]string{"early": early.Listener.Addr().String(), "switching": switching.Addr()}})
	for name, want := range map[string]string{"early": "HTTP/1.0 200", "switching": "HTTP/1.0 502"} {
		c := p.dial(t)
		_, _ = io.WriteString(c, "GET / HTTP/1.0\r\nHost: "+name+"\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\n")
		if got := rest(t, c); strings.Count(got, "HTTP/1.") != 1 || !strings.HasPrefix(got, want) || name == "early" && !strings.HasSuffix(got, "\r\n\r\n[]") {
			t.Errorf("%s: %q", name, got)
		}
		_ = c.Close()
	}
	// Who speaks HTTP/1.1 has them.
	c := p.dial(t)
	_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: early\r\nConnection: close\r\n\r\n")
	if got := rest(t, c); strings.Count(got, "HTTP/1.1 ") != 3 {
		t.Errorf("%q", got)
	}
}
