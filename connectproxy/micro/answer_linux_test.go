package micro

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"connect-proxy/config"
	"connect-proxy/listener"
	"connect-proxy/listener/listenertest"
)

// large is a service that answers with much and reads no body.
func large(t *testing.T) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(largeAnswer))
		_, _ = w.Write(make([]byte, largeAnswer))
	}))
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

const largeAnswer = 300_000

func TestAnAnswerIsWholeIfItsServiceReadsNoBody(t *testing.T) {
	t.Parallel()
	m := &mesh{services: map[string]string{"greeter": large(t)}}
	for host, p := range map[string]*proxy{
		"localhost": start(t, m, func(s *Server) {
			if err := s.Update(config.Micro{Allow: []string{"greeter"}, Namespace: "-", Handler: config.MicroProxy}); err != nil {
				t.Fatal(err)
			}
		}),
		"api.example.com": startPublic(t, m, config.Edge{Allow: []string{"greeter"}, Namespace: "-", Handler: config.MicroProxy}),
	} {
		for _, size := range []int{20, 8640, 200_000} {
			for range 20 {
				c := listenertest.Dial(t, "tcp", p.address())
				_ = c.SetDeadline(time.Now().Add(20 * time.Second))
				sent := make(chan struct{})
				go func() {
					defer close(sent)
					_, _ = io.WriteString(c, "POST /greeter/x HTTP/1.1\r\nHost: "+host+"\r\nContent-Length: "+strconv.Itoa(size)+"\r\n\r\n"+strings.Repeat("b", size))
				}()
				r, err := http.ReadResponse(bufio.NewReader(c), asked)
				if err != nil {
					t.Fatalf("%s, a body of %d: %v", host, size, err)
				}
				if n, err := io.Copy(io.Discard, r.Body); r.StatusCode != http.StatusOK || err != nil || n != largeAnswer {
					t.Errorf("%s, a body of %d: %s, %d bytes, %v", host, size, r.Status, n, err)
				}
				_ = c.Close()
				<-sent
			}
		}
	}
}

// To the proxy the answer is over, and its client at rest.
func TestWhoTakesAnAnswerSlowlyGetsAllOfItAfterItHasGivenWay(t *testing.T) {
	t.Parallel()
	m := &mesh{services: map[string]string{"greeter": large(t)}}
	edge := NewPublicServer(Options{
		Destination: func(name string) (config.Destination, error) { return config.ParseDestination(name, "") },
		Dial:        func(ctx context.Context, d config.Destination, _ net.Addr) (net.Conn, error) { return m.dial(ctx, d) },
	})
	if err := edge.Update(config.Edge{Hosts: []string{"api.example.com"}, Allow: []string{"greeter"}, Namespace: "-", Handler: config.MicroProxy}); err != nil {
		t.Fatal(err)
	}
	p := listen(t, edge.s, listener.Options{
		HandshakeTimeout: 5 * time.Second, MaxConnections: 1, FairConnections: true,
		Request: func(_ context.Context, raw net.Conn) (listener.Request, error) { return edge.Request(raw), nil },
	})
	from := func(ip string) *bufio.Reader {
		c := listenertest.DialFrom(t, ip, p.address())
		_ = c.SetDeadline(time.Now().Add(20 * time.Second))
		_, _ = io.WriteString(c, "GET /greeter/x HTTP/1.1\r\nHost: api.example.com\r\n\r\n")
		return bufio.NewReaderSize(c, 512)
	}
	slow := from("127.0.0.1")
	first, err := http.ReadResponse(slow, asked)
	if err != nil {
		t.Fatal(err)
	}
	listenertest.Eventually(t, "the newcomer is served", func() bool {
		r, err := http.ReadResponse(from("127.0.0.2"), asked)
		return err == nil && r.StatusCode == http.StatusOK
	})
	if n, err := io.Copy(io.Discard, first.Body); err != nil || n != largeAnswer {
		t.Errorf("%d bytes came, %v", n, err)
	}
}
