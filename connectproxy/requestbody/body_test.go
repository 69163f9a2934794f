package requestbody_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"connect-proxy/connectproxy/requestbody"
	"connect-proxy/listener/listenertest"
)

func TestMain(m *testing.M) { listenertest.Leaks(m) }

func TestAConnectionIsKeptOnlyIfTheBodyWasReadToItsEnd(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w, r, body := requestbody.Follow(w, r, requestbody.Bounds{})
		defer body.End()
		if r.URL.Path == "/read" {
			_, _ = io.Copy(io.Discard, r.Body)
		}
		_, _ = io.WriteString(w, "ok")
	}))
	t.Cleanup(server.Close)
	for _, c := range []struct {
		request string
		kept    bool
	}{
		{"GET /unread HTTP/1.1\r\nHost: x\r\n\r\n", true},
		{"POST /unread HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", true},
		{"POST /read HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc", true},
		{"POST /read HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", false}, // it may have had a length
		{"POST /read HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 3\r\n\r\nabc", false},
		{"POST /unread HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc", true}, // it is discarded
		{"POST /unread HTTP/1.1\r\nHost: x\r\nContent-Length: 300000\r\n\r\n" + strings.Repeat("a", 300000), false},
		{"POST /unread HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc", false},
		{"POST /unread HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", false},
		{"POST /read HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n", false},
	} {
		conn, err := net.Dial("tcp", server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
		_, _ = io.WriteString(conn, c.request+"GET /read HTTP/1.1\r\nHost: x\r\n\r\n")
		in := bufio.NewReader(conn)
		answers := 0
		for ; answers < 2; answers++ {
			r, err := http.ReadResponse(in, nil)
			if err != nil {
				break
			}
			_, _ = io.Copy(io.Discard, r.Body)
			_ = r.Body.Close()
		}
		if want := map[bool]int{true: 2, false: 1}[c.kept]; answers != want {
			t.Errorf("%q and a request: %d answers, want %d", c.request, answers, want)
		}
		_ = conn.Close()
	}
}

// dying is a service that ends the connection when it has the header of a request,
// after it has said something.
func dying(t *testing.T, says string, reset bool) *listenertest.Server {
	t.Helper()
	return listenertest.NewServer(t, func(c *net.TCPConn) {
		in := bufio.NewReader(c)
		for {
			line, err := in.ReadString('\n')
			if err != nil {
				return
			}
			if line == "\r\n" {
				break
			}
		}
		_, _ = io.WriteString(c, says)
		if reset {
			_ = c.SetLinger(0)
		}
	})
}

func TestAServiceThatEndsTheConnectionIsToldOfAtOnceWhileTheClientSends(t *testing.T) {
	const early = "HTTP/1.1 413 Request Entity Too Large\r\nContent-Length: 4\r\n"
	for what, c := range map[string]struct {
		says   string
		reset  bool
		status int
	}{
		"nothing is answered":          {"", false, http.StatusBadGateway},
		"a reset":                      {"", true, http.StatusBadGateway},
		"no HTTP":                      {"what?\r\n\r\n", false, http.StatusBadGateway},
		"half an answer":               {"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", false, http.StatusOK},
		"an early answer":              {early + "\r\nlong", false, http.StatusRequestEntityTooLarge},
		"an early answer that is last": {early + "Connection: close\r\n\r\nlong", false, http.StatusRequestEntityTooLarge},
	} {
		for framing, body := range map[string]string{
			"a body that does not come": "Content-Length: 10\r\n\r\n",
			"half a body":               "Content-Length: 10\r\n\r\nhalf",
			"half of the chunks":        "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
		} {
			t.Run(what+", "+framing, func(t *testing.T) {
				t.Parallel()
				behind := dying(t, c.says, c.reset)
				front := passingOn(t, behind.Addr())
				conn, err := net.Dial("tcp", front.Listener.Addr().String())
				if err != nil {
					t.Fatal(err)
				}
				_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
				_, _ = io.WriteString(conn, "POST / HTTP/1.1\r\nHost: x\r\n"+body)
				in := bufio.NewReader(conn)
				r, err := http.ReadResponse(in, nil)
				if err == nil && r.StatusCode != c.status {
					t.Error(r.Status)
				}
				if err == nil {
					_, err = io.ReadAll(r.Body)
				}
				if errors.Is(err, os.ErrDeadlineExceeded) || (err == nil) == (what == "half an answer") {
					t.Error(err)
				}
				if _, err := io.Copy(io.Discard, in); errors.Is(err, os.ErrDeadlineExceeded) {
					t.Error("the connection stays")
				}
				_ = conn.Close()
			})
		}
	}
}

func TestARefusalIsAnsweredWhileTheBodyIsOutstandingAndTheConnectionEnds(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w, _, body := requestbody.Follow(w, r, requestbody.Bounds{})
		defer body.End()
		http.Error(w, "no", http.StatusForbidden)
	}))
	t.Cleanup(server.Close)
	for _, framing := range []string{"Content-Length: 10\r\n\r\nhalf", "Content-Length: 10000000\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n", "Expect: 100-continue\r\nContent-Length: 10\r\n\r\n"} {
		conn, err := net.Dial("tcp", server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		_, _ = io.WriteString(conn, "POST / HTTP/1.1\r\nHost: x\r\n"+framing)
		got, err := io.ReadAll(conn)
		if err != nil || !strings.HasPrefix(string(got), "HTTP/1.1 403 ") || !strings.Contains(string(got), "Connection: close\r\n") {
			t.Errorf("%q: %q, %v", framing, got, err)
		}
		_ = conn.Close()
	}
}

func TestABodyThatStallsIsGivenUp(t *testing.T) {
	for _, bounds := range []requestbody.Bounds{{Stall: 100 * time.Millisecond}, {Whole: 100 * time.Millisecond}} {
		over := make(chan error, 1)
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, r, body := requestbody.Follow(w, r, bounds)
			defer body.End()
			_, err := io.Copy(io.Discard, r.Body)
			if _, client := body.Fault(err); client {
				err = errors.New("a client that is slow is taken for one that sends no body")
			}
			over <- err
		}))
		t.Cleanup(server.Close)
		conn, err := net.Dial("tcp", server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		_, _ = io.WriteString(conn, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf")
		select {
		case err := <-over:
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("%+v: %v", bounds, err)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("%+v: it is waited for", bounds)
		}
	}
}

func TestAClientOfHTTP10GetsOneAnswer(t *testing.T) {
	front := passingOn(t, httptestServer(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Link", "</style.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		_, _ = io.WriteString(w, "ok")
	}))
	for proto, answers := range map[string]int{"HTTP/1.0": 1, "HTTP/1.1": 2} {
		conn, err := net.Dial("tcp", front.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		_, _ = io.WriteString(conn, "GET / "+proto+"\r\nHost: x\r\nConnection: close\r\n\r\n")
		got, err := io.ReadAll(conn)
		if n := strings.Count(string(got), "HTTP/1."); err != nil || n != answers || !strings.HasSuffix(string(got), "ok") && proto == "HTTP/1.0" {
			t.Errorf("%s: %q, %v", proto, got, err)
		}
		_ = conn.Close()
	}
}

// A kept connection that has ended meanwhile is no reason to give up a body of which
// nothing was read.
func TestABodyIsSentOnAnotherConnectionIfTheFirstHasEnded(t *testing.T) {
	var served atomic.Int64
	behind := listenertest.NewServer(t, func(c *net.TCPConn) {
		r, err := http.ReadRequest(bufio.NewReader(c))
		if err != nil {
			return
		}
		got, _ := io.ReadAll(r.Body)
		served.Add(1)
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"+string(got))
	})
	front := passingOn(t, behind.Addr())
	for i := range 50 {
		r, err := http.Post(front.URL, "text/plain", strings.NewReader("ok"))
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r.Body)
		_ = r.Body.Close()
		// The transport may find out too late, when it has begun to send.
		if r.StatusCode == http.StatusOK && string(got) != "ok" || r.StatusCode != http.StatusOK && r.StatusCode != http.StatusBadGateway {
			t.Errorf("%d: %s %q, %v", i, r.Status, got, err)
		}
	}
	if served.Load() < 25 {
		t.Errorf("%d of 50 were served", served.Load())
	}
	http.DefaultClient.CloseIdleConnections()
}
