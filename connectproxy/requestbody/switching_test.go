package requestbody_test

import (
	"bufio"
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"testing"
	"time"

	"connect-proxy/connectproxy/requestbody"
)

// switching answers every request with a change of protocols, and then repeats what
// it is sent.
func switching(header string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		c, in, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer func() { _ = c.Close() }()
		_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\n"+header+"\r\n")
		_, _ = io.Copy(c, in)
	}
}

func httptestServer(t *testing.T, service http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(service)
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// passingOn is a proxy in front of the service at an address.
func passingOn(t *testing.T, address string) *httptest.Server {
	t.Helper()
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, "tcp", address)
		if err != nil {
			return nil, err
		}
		return requestbody.NewConn(c), nil
	}}
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w, r, body := requestbody.Follow(w, r, requestbody.Bounds{})
		defer body.End()
		proxy := httputil.ReverseProxy{
			Rewrite: func(p *httputil.ProxyRequest) {
				p.Out.URL.Scheme, p.Out.URL.Host = "http", "service"
				body.OneProtocol(p.Out)
			},
			ModifyResponse: requestbody.Answered,
			Transport:      transport,
			ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
				why, _ := body.Fault(err)
				http.Error(w, why.Error(), http.StatusBadGateway)
			},
			ErrorLog: log.New(io.Discard, "", 0),
		}
		proxy.ServeHTTP(w, body.SentOn(r))
	}))
	t.Cleanup(func() {
		front.Close()
		transport.CloseIdleConnections()
	})
	return front
}

func TestProtocolsAreSwitchedOnlyWhereTheClientHasAskedForThatAlone(t *testing.T) {
	const (
		asked   = "Connection: Upgrade\r\nUpgrade: websocket\r\n"
		unasked = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
	)
	for _, granted := range []string{asked, "Connection: Upgrade\r\nUpgrade: h2c\r\n", "Connection: close\r\n", ""} {
		front := passingOn(t, httptestServer(t, switching(granted)))
		for request, switched := range map[string]bool{
			"GET / HTTP/1.1\r\nHost: x\r\n" + asked + "\r\n":                                         granted == asked,
			"GET / HTTP/1.1\r\nHost: x\r\n" + unasked + "\r\n":                                       false,
			"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n\r\n":                                false,
			"POST / HTTP/1.1\r\nHost: x\r\n" + asked + "Content-Length: 1\r\n\r\n":                   false,
			"POST / HTTP/1.1\r\nHost: x\r\n" + asked + "Content-Length: 1\r\n\r\na":                  false,
			"POST / HTTP/1.1\r\nHost: x\r\n" + unasked + "Content-Length: 9999\r\n\r\nabc\r\n":       false,
			"POST / HTTP/1.1\r\nHost: x\r\n" + unasked + "Transfer-Encoding: chunked\r\n\r\n1\r\na":  false,
			"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nabcde":   false,
			"POST / HTTP/1.1\r\nHost: x\r\n" + asked + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n": false,
		} {
			conn, err := net.Dial("tcp", front.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
			if switched {
				request += "early\n" // it does not wait for the answer
			}
			_, _ = io.WriteString(conn, request)
			in := bufio.NewReader(conn)
			r, err := http.ReadResponse(in, nil)
			for err == nil && r.StatusCode == http.StatusContinue {
				r, err = http.ReadResponse(in, nil)
			}
			switch {
			case err != nil:
				t.Errorf("%q, granted %q: %v", request, granted, err)
			case !switched && r.StatusCode != http.StatusBadGateway || switched && r.StatusCode != http.StatusSwitchingProtocols:
				t.Errorf("%q, granted %q: %s", request, granted, r.Status)
			case switched:
				_, _ = io.WriteString(conn, "hello\n")
				for _, want := range []string{"early\n", "hello\n"} {
					if line, err := in.ReadString('\n'); line != want {
						t.Errorf("%q is repeated, want %q: %v", line, want, err)
					}
				}
			}
			_ = conn.Close()
		}
	}
}
