package micro

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"connect-proxy/config"
	"connect-proxy/listener/listenertest"
)

// A client that sends Expect waits for the answer before it sends the body, for as long
// as it likes.
func TestWhoWaitsForLeaveToSendABodyIsAnsweredWithoutIt(t *testing.T) {
	t.Parallel()
	const expect = "Expect: 100-continue\r\nContent-Length: 10\r\n\r\n"
	web := listenertest.NewServer(t, func(c *net.TCPConn) {
		if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
			_, _ = io.WriteString(c, "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n")
		}
	})
	m := &mesh{services: map[string]string{"web": web.Addr()}}
	for _, handler := range []config.MicroHandler{config.MicroRPC, config.MicroProxy} {
		micro := start(t, m, func(s *Server) {
			if err := s.Update(config.Micro{Allow: []string{"web", "nobody"}, Namespace: "-", Handler: handler}); err != nil {
				t.Fatal(err)
			}
		})
		edge := startPublic(t, m, config.Edge{Allow: []string{"web", "nobody"}, Namespace: "-", Handler: handler})
		for _, ask := range []struct {
			p    *proxy
			head string
			want int
		}{
			{micro, "POST /rpc HTTP/1.1\r\nHost: localhost\r\nOrigin: http://x\r\n", 403},
			{micro, "POST /other/x HTTP/1.1\r\nHost: evil.example\r\n", 403},
			{edge, "POST /web/x HTTP/1.1\r\nHost: other.example.com\r\n", 421},
			{edge, "POST /stats HTTP/1.1\r\nHost: api.example.com\r\n", 404},
			{edge, "CONNECT /web HTTP/1.1\r\nHost: api.example.com\r\n", 405},
			{micro, "PUT /web/x HTTP/1.1\r\nHost: localhost\r\n", map[config.MicroHandler]int{config.MicroRPC: 405, config.MicroProxy: 401}[handler]},
			{edge, "PUT /web/x HTTP/1.1\r\nHost: api.example.com\r\n", map[config.MicroHandler]int{config.MicroRPC: 405, config.MicroProxy: 401}[handler]},
			{micro, "PUT /other/x HTTP/1.1\r\nHost: localhost\r\n", map[config.MicroHandler]int{config.MicroRPC: 405, config.MicroProxy: 403}[handler]},
			{edge, "PUT /other/x HTTP/1.1\r\nHost: api.example.com\r\n", map[config.MicroHandler]int{config.MicroRPC: 405, config.MicroProxy: 404}[handler]},
			{edge, "PUT /nobody/x HTTP/1.1\r\nHost: api.example.com\r\n", map[config.MicroHandler]int{config.MicroRPC: 405, config.MicroProxy: 404}[handler]},
		} {
			c := listenertest.Dial(t, "tcp", ask.p.address())
			_ = c.SetDeadline(time.Now().Add(15 * time.Second)) // half of what a body may take at the edge
			if _, err := io.WriteString(c, ask.head+expect); err != nil {
				t.Fatal(err)
			}
			in := bufio.NewReader(c)
			r, err := http.ReadResponse(in, asked)
			if err == nil && r.StatusCode == http.StatusContinue { // the service may have read a body
				r, err = http.ReadResponse(in, asked)
			}
			if err != nil {
				t.Errorf("%s, %q: %v", handler, ask.head, err)
			} else if r.StatusCode != ask.want || !r.Close {
				t.Errorf("%s, %q: %s, the connection ends: %t", handler, ask.head, r.Status, r.Close)
			}
			_ = c.Close()
		}
	}
}

// A server reads what is left of a body before it closes the connection.
func TestWhoNeverSendsABodyDoesNotKeepItsConnection(t *testing.T) {
	t.Parallel()
	for _, handler := range []config.MicroHandler{config.MicroRPC, config.MicroProxy} {
		p := start(t, &mesh{}, func(s *Server) {
			s.stallTime = 200 * time.Millisecond
			if err := s.Update(config.Micro{Allow: []string{"greeter"}, Namespace: "-", Handler: handler}); err != nil {
				t.Fatal(err)
			}
		})
		for _, head := range []string{"Origin: http://x", "A: b"} {
			for _, expect := range []string{"", "Expect: 100-continue\r\n"} {
				c := p.caller(t)
				c.send("PUT /greeter/x HTTP/1.1\r\nHost: localhost\r\nX: y\r\n" + expect + "Content-Length: 10\r\n" + head + "\r\n\r\n")
				if more := c.gone(); !strings.Contains(more, "HTTP/1.1 4") {
					t.Errorf("%s, %s, %q: %q", handler, head, expect, more)
				}
			}
		}
	}
}

func TestABodyThatCannotBeReadIsNotBlamedOnTheService(t *testing.T) {
	t.Parallel()
	m := &mesh{services: map[string]string{"greeter": listenertest.NewUnreading(t).Addr()}}
	for host, p := range map[string]*proxy{
		"localhost": start(t, m, func(s *Server) {
			if err := s.Update(config.Micro{Allow: []string{"greeter"}, Namespace: "-", Handler: config.MicroProxy}); err != nil {
				t.Fatal(err)
			}
		}),
		"api.example.com": startPublic(t, m, config.Edge{Allow: []string{"greeter"}, Namespace: "-", Handler: config.MicroProxy}),
	} {
		for sent, want := range map[string]int{
			"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nZZ\r\n": 400,
			"Transfer-Encoding: chunked\r\n\r\n5;a\n=b\r\nhello":     400,
		} {
			c := p.caller(t)
			c.send("POST /greeter/x HTTP/1.1\r\nHost: " + host + "\r\n" + sent)
			if r, body, _ := c.answer(); r.StatusCode != want || !strings.Contains(body, "body") {
				t.Errorf("%s, %q: %s %s", host, sent, r.Status, body)
			}
		}
	}
}
