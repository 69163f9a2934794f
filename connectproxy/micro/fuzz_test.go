package micro

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"connect-proxy/listener/listenertest"
)

// FuzzWhatAClientSends has a client send anything: its connection ends, and its
// service gets whole messages, one at a time.
func FuzzWhatAClientSends(f *testing.F) {
	for _, seed := range []string{
		messageTo("db", "hello"),
		messageTo("db", "hello") + messageTo("db", "again", "Connection: close"),
		messageTo("db", "hello", "Micro-Stream: 1") + messageTo("db", "again", "Micro-Stream: 1"),
		"POST / HTTP/1.1\r\nHost: x\r\nMicro-Service: db\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: x\r\nMicro-Service: db\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nhello",
		"GET / HTTP/1.0\n\n",
	} {
		f.Add([]byte(seed))
	}
	s := newService(f, "db")
	p := start(f, &mesh{services: map[string]string{"db": s.Addr()}})
	f.Fuzz(func(t *testing.T, b []byte) {
		c := p.caller(t)
		go func() {
			_, _ = c.Write(b)
			_ = c.CloseWrite()
		}()
		c.gone()
	})
}

// FuzzWhatAServiceAnswers has a service answer anything: its client gets an
// answer that is whole, or an error.
func FuzzWhatAServiceAnswers(f *testing.F) {
	for _, seed := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
		"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
		"HTTP/1.1 200 OK\r\n\r\nto the end",
		"HTTP/1.1 204 No Content\r\nMicro-Error: {}\r\n\r\n",
		"HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n",
	} {
		f.Add([]byte(seed))
	}
	var answer atomic.Pointer[[]byte]
	s := listenertest.NewServer(f, func(c *net.TCPConn) {
		if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
			_, _ = c.Write(*answer.Load())
		}
	})
	p := start(f, &mesh{services: map[string]string{"db": s.Addr()}})
	f.Fuzz(func(t *testing.T, b []byte) {
		answer.Store(&b)
		c := p.caller(t)
		c.send(messageTo("db", "hello", "Connection: close"))
		_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
		r, err := http.ReadResponse(c.in, asked)
		if err == nil {
			_, err = io.ReadAll(r.Body)
		}
		if err != nil && len(b) <= maxKept {
			t.Fatalf("%q became no answer, or half of one: %v", b, err)
		}
	})
}
