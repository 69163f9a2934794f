package byname_test

import (
	"context"

	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"connect-proxy/config"
	"connect-proxy/connectproxy/byname"
	"connect-proxy/connectproxy/dynamic"
	"connect-proxy/listener"
	"connect-proxy/listener/listenertest"
)

func TestMain(m *testing.M) {
	if url := os.Getenv(getVariable); url != "" {
		os.Exit(getForTest(url))
	}
	listenertest.Leaks(m)
}

// mesh has the services that a proxy under test can reach, by name, and the
// reasons why others cannot be reached.
type mesh struct {
	services map[string]string
	reasons  map[string]listener.Reason

	mu    sync.Mutex
	calls []dynamic.Call // of plain HTTP
}

func (m *mesh) dial(ctx context.Context, d config.Destination) (net.Conn, error) {
	if r, ok := m.reasons[d.String()]; ok {
		return nil, listener.WithReason(r, fmt.Errorf("dialling %s: %s", d, r))
	}
	address, ok := m.services[d.String()]
	if !ok {
		return nil, listener.WithReason(listener.ReasonNoEndpoints, fmt.Errorf("dialling %s: %w", d, dynamic.ErrUnknown))
	}
	return (&net.Dialer{}).DialContext(ctx, "tcp", address)
}

// proxy is a Server behind a listener.
type proxy struct {
	*listener.Listener
	*byname.Server
	mu     sync.Mutex
	closed []listener.Summary
}

func (p *proxy) ConnOpened(listener.Open) {}

func (p *proxy) ConnClosed(s listener.Summary) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = append(p.closed, s)
}

// ended waits for n connections to have ended, and returns the last of them.
func (p *proxy) ended(t *testing.T, n int) listener.Summary {
	t.Helper()
	var last listener.Summary
	listenertest.Eventually(t, "connections have ended", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		if len(p.closed) >= n {
			last = p.closed[n-1]
		}
		return len(p.closed) >= n
	})
	return last
}

// start runs a proxy until the test ends.
func start(t testing.TB, c config.ByName, m *mesh, options ...func(*listener.Options)) *proxy {
	t.Helper()
	if c.DNSDomain == "" {
		c.DNSDomain = config.DefaultDNSDomain
	}
	s := byname.New(byname.Options{
		Destination: config.ParseDestination,
		Target: func(ctx context.Context, d config.Destination) (listener.Target, error) {
			c, err := m.dial(ctx, d)
			return listener.Target{Conn: c, Instance: listener.Instance{Address: d.String()}}, err
		},
		Dial: func(ctx context.Context, call dynamic.Call) (net.Conn, error) {
			m.mu.Lock()
			m.calls = append(m.calls, call)
			m.mu.Unlock()
			return m.dial(ctx, call.To)
		},
	})
	if err := s.Update(c); err != nil {
		t.Fatal(err)
	}
	ln, err := listener.Listen(t.Context(), "tcp", "127.0.0.1:0", 0)
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{Server: s}
	o := listener.Options{Name: "by_name", Request: s.Request, Observer: p}
	for _, set := range options {
		set(&o)
	}
	if p.Listener, err = listener.New(ln, o); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		s.CloseIdle()
	})
	return p
}

func (p *proxy) dial(t testing.TB) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", p.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	return c.(*net.TCPConn)
}

// says sends what is said and wants an answer of that length.
func says(t *testing.T, c net.Conn, what string, answer int) string {
	t.Helper()
	if _, err := io.WriteString(c, what); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, answer)
	if _, err := io.ReadFull(c, b); err != nil {
		t.Fatalf("after %q: %v", what, err)
	}
	return string(b)
}

// rest reads to the end, which must be an orderly one.
func rest(t *testing.T, c net.Conn) string {
	t.Helper()
	b, err := io.ReadAll(c)
	if err != nil {
		t.Errorf("after %q: %v", b, err)
	}
	return string(b)
}

func allowing(patterns ...string) config.ByName { return config.ByName{Allow: patterns} }
