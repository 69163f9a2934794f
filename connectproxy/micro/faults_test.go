package micro

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"connect-proxy/config"
	"connect-proxy/listener"
	"connect-proxy/listener/listenertest"
)

func TestMessagesThatAreNoneReachNoService(t *testing.T) {
	s := newService(t, "db")
	m := &mesh{services: map[string]string{"db": s.Addr()}}
	p := start(t, m)
	const begin = "POST / HTTP/1.1\r\nHost: here\r\nMicro-Service: db\r\n"
	for what, text := range map[string]string{
		"two lengths":                begin + "Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
		"a length that is no number": begin + "Content-Length: +1\r\n\r\nx",
		"a length below zero":        begin + "Content-Length: -1\r\n\r\n",
		"a length beyond all":        begin + "Content-Length: 99999999999999999999\r\n\r\n",
		"an unknown encoding":        begin + "Transfer-Encoding: gzip\r\n\r\n",
		"a header that is none":      begin + "no colon\r\n\r\n",
		"a header that is too long":  begin + "X: " + strings.Repeat("x", maxHeader+8192) + "\r\n\r\n",
		"no HTTP":                    "hello\r\n\r\n",
	} {
		c := p.caller(t)
		_, _ = c.Write([]byte(text))
		if got := c.gone(); !strings.HasPrefix(got, "HTTP/1.1 4") && !strings.HasPrefix(got, "HTTP/1.1 5") {
			t.Errorf("%s: %.200q", what, got)
		}
	}
	if m.dials() != 0 || s.messages.Load() != 0 {
		t.Errorf("%d dials, %d messages", m.dials(), s.messages.Load())
	}
}

func TestAClientOfAnotherProtocolIsToldByTheLogAtOnce(t *testing.T) {
	for sent, says := range map[string]string{
		"\x16\x03\x01": "the client speaks TLS: ", "\x05\x01\x00": "the client speaks SOCKS: ", "\x04\x01\x00": "the client speaks SOCKS: ",
	} {
		near, far := net.Pipe()
		defer far.Close()
		go func() { _, _ = near.Write([]byte(sent)) }()
		_ = far.SetDeadline(time.Now().Add(time.Minute)) // by which it would wait in vain
		if _, err := readHead(far); err == nil || !strings.HasPrefix(err.Error(), says) {
			t.Errorf("%q: %v", sent, err)
		}
		_ = near.Close()
	}
}

func TestAMessageThatIsRefusedIsAnsweredBeforeItHasCome(t *testing.T) {
	p := start(t, &mesh{})
	for _, framing := range []string{"Content-Length: 10\r\n\r\nhalf", "Transfer-Encoding: chunked\r\n\r\n"} {
		c := p.caller(t)
		c.send("POST / HTTP/1.1\r\nHost: here\r\n" + framing)
		if r, err := http.ReadResponse(c.in, asked); err != nil || r.Header.Get(headerError) == "" {
			t.Errorf("%q: %+v, %v", framing, r, err)
		}
		c.gone()
	}
}

func TestAMessageThatStopsHalfWayIsGivenUp(t *testing.T) {
	s := newService(t, "db")
	m := &mesh{services: map[string]string{"db": s.Addr()}}
	p := start(t, m, func(s *Server) { s.stallTime = 400 * time.Millisecond }) // what has come is read in that time
	for what, x := range map[string]struct {
		text  string
		dials int
	}{
		"a short body": {"Content-Length: 10\r\n\r\nhalf", 0},
		"a long body":  {"Content-Length: 1000000\r\n\r\n" + strings.Repeat("x", 100_000), 1},
		"a huge body":  {"Content-Length: 9223372036854775807\r\n\r\nx", 1},
		"a chunk":      {"Transfer-Encoding: chunked\r\n\r\n10\r\nhalf", 0},
	} {
		before := m.dials()
		c := p.caller(t)
		c.send("POST / HTTP/1.1\r\nHost: here\r\nMicro-Service: db\r\n" + x.text)
		r, err := http.ReadResponse(c.in, asked)
		if err == nil && r.Header.Get(headerError) == "" {
			t.Errorf("%s: %+v", what, r)
		}
		_ = c.CloseWrite()
		c.gone()
		if n := m.dials() - before; n != x.dials {
			t.Errorf("%s: %d dials", what, n)
		}
	}
	listenertest.Eventually(t, "connections to the service are closed", func() bool { return int(s.closed.Load()) == s.Accepted() })
	if s.messages.Load() != 0 {
		t.Errorf("%d messages", s.messages.Load())
	}
}

func TestAnswersThatAreNoneAreFailures(t *testing.T) {
	for what, text := range map[string]string{
		"nothing":                   "",
		"no HTTP":                   "hello\r\n\r\n",
		"two lengths":               "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
		"half a body":               "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
		"a header without end":      "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 2*maxHeader),
		"another protocol":          "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
		"a status that is none":     "HTTP/1.1 007 OK\r\nContent-Length: 0\r\n\r\n",
		"announcements without end": strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", maxHeader/10),
	} {
		t.Run(what, func(t *testing.T) {
			s := listenertest.NewServer(t, func(c *net.TCPConn) {
				if r, err := http.ReadRequest(bufio.NewReader(c)); err == nil && r.ContentLength == 5 {
					_, _ = c.Write([]byte(text))
				}
			})
			p := start(t, &mesh{services: map[string]string{"db": s.Addr()}})
			if _, e := p.caller(t).call("db", "hello"); e.Code != http.StatusBadGateway {
				t.Errorf("%+v", e)
			}
		})
	}
}

func TestAnAnswerThatNobodyAskedForIsNobodys(t *testing.T) {
	s := listenertest.NewServer(t, func(c *net.TCPConn) {
		in := bufio.NewReader(c)
		for {
			r, err := http.ReadRequest(in)
			if err != nil {
				return
			}
			b := new(bytes.Buffer)
			_, _ = b.ReadFrom(r.Body)
			answer := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", b.Len(), b)
			_, _ = c.Write([]byte(answer + "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged"))
		}
	})
	p := start(t, &mesh{services: map[string]string{"db": s.Addr()}})
	c := p.caller(t)
	for i := range 20 {
		body := fmt.Sprintf("call %2d", i)
		got, e := c.call("db", body)
		if got != body && e.Code != http.StatusBadGateway {
			t.Fatalf("%q, %+v", got, e)
		}
	}
}

func TestAClientWithoutAMessageIsBoundedAsAStrangerIs(t *testing.T) {
	m := &mesh{services: map[string]string{"db": newService(t, "db").Addr()}}
	s := newServer(t, m)
	o := listener.Options{Name: "micro", Request: s.Request, HandshakeTimeout: 200 * time.Millisecond, MaxHandshakes: 4}
	p := listen(t, s, o)
	silent, half := p.caller(t), p.caller(t)
	half.send("POST / HTTP/1.1\r\nMicro-Service: db\r\n")
	silent.gone()
	half.gone()

	// Those that go on without end give way to others, which have the time that a busy
	// machine takes.
	o.HandshakeTimeout = 3 * time.Second
	p.Listener.Update(o)
	var all []*caller
	for range 8 {
		c := p.caller(t)
		c.send("POST / HTTP/1.1\r\nX: ")
		all = append(all, c)
	}
	if got, e := p.caller(t).call("db", "hello"); got != "db got hello" {
		t.Errorf("%q %+v", got, e)
	}
	for _, c := range all {
		c.gone()
	}
}

func TestNothingOfAClientOutlastsIt(t *testing.T) {
	s := newServer(t, &mesh{})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	c := callerAt(t, ln.Addr().String())
	conn, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.serve(ctx, s.newClient(conn, nil))
	}()
	// It is answered before its body is read, and given time to see that.
	c.send("POST /registry HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n" + strings.Repeat(" ", maxRegistration+1))
	if r, _, _ := c.answer(); r.StatusCode != http.StatusBadRequest {
		t.Error(r.Status)
	}
	cancel()
	<-done
	stack := make([]byte, 1<<20)
	if stack = stack[:runtime.Stack(stack, true)]; bytes.Contains(stack, []byte("net/http.(*conn).closeWrite")) {
		t.Errorf("left:\n%s", stack)
	}
}

func TestNothingFollowsAMessageThatItsServiceDidNotTakeWhole(t *testing.T) {
	service := listenertest.NewServer(t, func(c *net.TCPConn) {
		_ = c.SetReadBuffer(4 << 10)
		if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
			<-t.Context().Done() // and reads no more
		}
	})
	raw, err := net.Dial("tcp", service.Addr())
	if err != nil {
		t.Fatal(err)
	}
	_ = raw.(*net.TCPConn).SetWriteBuffer(4 << 10)
	f := newFar(config.Destination{}, raw, 100*time.Millisecond)
	go f.read()
	x, response, failed := f.send(t.Context(), &message{kept: bytes.NewBuffer(make([]byte, 1<<20)), length: 1 << 20})
	if failed != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("the service has answered: %v", failed)
	}
	if x.end(true) {
		t.Error("the next message would be read as the rest of this one")
	}
	f.abort()
	<-f.broken
}

func TestNothingIsReadBehindAMessageWithChunks(t *testing.T) {
	p := start(t, &mesh{services: map[string]string{"db": newService(t, "db").Addr()}})
	for _, message := range []string{
		"POST / HTTP/1.1\r\nHost: here\r\nMicro-Service: db\r\nContent-Length: 100\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: here\r\nMicro-Service: denied\r\nContent-Length: 100\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
		"POST / HTTP/1.0\r\nHost: here\r\nMicro-Service: db\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\n{}",
	} {
		c := p.caller(t)
		c.send(message + messageTo("db", "hidden"))
		if got := c.gone(); strings.Count(got, "HTTP/1.") != 1 || strings.Contains(got, "hidden") {
			t.Errorf("%q: %q", message, got)
		}
	}
}
