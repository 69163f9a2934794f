package micro

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"connect-proxy/listener/listenertest"
)

// service is a server that behaves as one of Micro: it answers each message with
// its name and the body, and with the headers of the connection's first request.
type service struct {
	*listenertest.Server
	messages, closed atomic.Int64
	mixed            atomic.Bool // two calls were under way on one connection
}

func newService(t testing.TB, name string) *service {
	t.Helper()
	s := &service{}
	s.Server = listenertest.NewServer(t, func(c *net.TCPConn) {
		defer s.closed.Add(1)
		in := bufio.NewReader(c)
		var first http.Header
		for {
			r, err := http.ReadRequest(in)
			if err != nil {
				return
			}
			body, err := io.ReadAll(r.Body)
			if err != nil {
				return
			}
			s.messages.Add(1)
			if first == nil {
				first = r.Header
			}
			if in.Buffered() > 0 && r.Header.Get(headerStream) == "" {
				s.mixed.Store(true)
			}
			answer := name + " got " + string(body)
			if r.Header.Get("Silent") != "" {
				_, _ = io.Copy(io.Discard, in)
				return
			}
			if r.Header.Get("Break") != "" {
				return
			}
			var b strings.Builder
			b.WriteString("HTTP/1.1 200 OK\r\n")
			_ = first.WriteSubset(&b, map[string]bool{"Content-Length": true, "Timeout": true})
			if r.Header.Get("Chunked") != "" {
				fmt.Fprintf(&b, "Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(answer), answer)
			} else {
				fmt.Fprintf(&b, "Content-Length: %d\r\n\r\n%s", len(answer), answer)
			}
			if _, err := io.WriteString(c, b.String()); err != nil {
				return
			}
		}
	})
	t.Cleanup(func() {
		if s.mixed.Load() {
			t.Error("two calls were under way on one connection")
		}
	})
	return s
}

// caller is a client's connection.
type caller struct {
	t testing.TB
	*net.TCPConn
	in *bufio.Reader
}

func (p *proxy) caller(t testing.TB) *caller { return callerAt(t, p.address()) }

func callerAt(t testing.TB, address string) *caller {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	return &caller{t, c.(*net.TCPConn), bufio.NewReader(c)}
}

// message is a message for a service, as Micro's clients send it.
func messageTo(service, body string, headers ...string) string {
	var more string
	for _, h := range headers {
		more += h + "\r\n"
	}
	return fmt.Sprintf("POST / HTTP/1.1\r\nHost: here\r\nMicro-Service: %s\r\nMicro-Id: 7\r\n%sContent-Length: %d\r\n\r\n%s", service, more, len(body), body)
}

// patient takes the limit of its time away.
func (c *caller) patient() { _ = c.SetDeadline(time.Time{}) }

func (c *caller) send(text string) {
	c.t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		c.t.Fatal(err)
	}
}

// answer reads an answer and the error in it.
func (c *caller) answer() (*http.Response, string, envelope) {
	c.t.Helper()
	r, err := http.ReadResponse(c.in, asked)
	if err != nil {
		c.t.Fatal(err)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	var e envelope
	if text := r.Header.Get(headerError); text != "" {
		if err := json.Unmarshal([]byte(text), &e); err != nil {
			c.t.Fatalf("%q: %v", text, err)
		}
	}
	return r, string(body), e
}

// call sends a message and returns the answer.
func (c *caller) call(service, body string, headers ...string) (string, envelope) {
	c.t.Helper()
	c.send(messageTo(service, body, headers...))
	r, got, e := c.answer()
	if r.StatusCode != http.StatusOK {
		c.t.Fatalf("status %d: %s", r.StatusCode, got)
	}
	return got, e
}

// gone reads until the proxy has ended the connection.
func (c *caller) gone() string {
	c.t.Helper()
	b, err := io.ReadAll(c.in)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		c.t.Fatal("the connection is still open")
	}
	return string(b)
}
