package micro

import (
	"context"
	"fmt"
	"net"
	"sync"
	"testing"

	"connect-proxy/config"
	"connect-proxy/listener"
	"connect-proxy/listener/listenertest"
)

func TestMain(m *testing.M) { listenertest.Leaks(m) }

// mesh has services at addresses, and reasons why others cannot be dialled.
type mesh struct {
	services map[string]string
	reasons  map[string]listener.Reason
	topics   map[string][]string // that services subscribe to

	mu      sync.Mutex // guards dialled and services
	dialled int
}

// serve has a service be at another address from now on.
func (m *mesh) serve(name, address string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.services[name] = address
}

func (m *mesh) dial(ctx context.Context, d config.Destination) (net.Conn, error) {
	m.mu.Lock()
	m.dialled++
	address, ok := m.services[d.Name]
	m.mu.Unlock()
	if r, ok := m.reasons[d.Name]; ok {
		return nil, listener.WithReason(r, fmt.Errorf("dialling %s in vain", d))
	}
	if !ok {
		return nil, listener.WithReason(listener.ReasonNoEndpoints, fmt.Errorf("nobody is called %q", d))
	}
	return listener.NewDialer().DialContext(ctx, "tcp", address)
}

func (m *mesh) dials() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.dialled
}

// Services and Behind are broker.Catalog's.
func (m *mesh) Services(context.Context) (map[string][]string, error) { return m.topics, nil }

func (m *mesh) Behind(_ context.Context, name string) ([]string, error) { return []string{name}, nil }

// proxy is a Server behind a listener.
type proxy struct {
	*Server
	*listener.Listener
	mesh *mesh
}

// inFlight is how many calls of gRPC a service has.
func (p *proxy) inFlight(service string) (n int) {
	p.grpc.mu.Lock()
	defer p.grpc.mu.Unlock()
	for to, s := range p.grpc.services {
		for _, c := range s.connections {
			if to.Name == service {
				n += c.InFlight()
			}
		}
	}
	return n
}

func (p *proxy) address() string { return p.Listener.Addr().String() }

func allow(t testing.TB, s *Server, names ...string) {
	t.Helper()
	if err := s.Update(config.Micro{Allow: names, Topics: []string{"orders*"}, Namespace: config.DefaultMicroNamespace, Handler: config.MicroRPC}); err != nil {
		t.Fatal(err)
	}
}

// newServer makes a Server of the mesh, that allows everything.
func newServer(t testing.TB, m *mesh) *Server {
	t.Helper()
	s := New(Options{
		Destination: func(name string) (config.Destination, error) { return config.ParseDestination(name, "") },
		Dial:        func(ctx context.Context, d config.Destination, _ net.Addr) (net.Conn, error) { return m.dial(ctx, d) },
		Target: func(ctx context.Context, d config.Destination) (listener.Target, error) {
			c, err := m.dial(ctx, d)
			return listener.Target{Conn: c}, err
		},
		Service: func() string { return "shop" },
		Catalog: m,
	})
	allow(t, s, "*")
	return s
}

// start serves on a loopback port until the test ends. Everything is allowed.
func start(t testing.TB, m *mesh, change ...func(*Server)) *proxy {
	t.Helper()
	s := newServer(t, m)
	for _, f := range change {
		f(s)
	}
	p := listen(t, s, listener.Options{Request: s.Request})
	p.mesh = m
	return p
}

func listen(t testing.TB, s *Server, o listener.Options) *proxy {
	t.Helper()
	ln, err := listener.Listen(t.Context(), "tcp", "127.0.0.1:0", 0)
	if err != nil {
		t.Fatal(err)
	}
	o.Name = "micro"
	l, err := listener.New(ln, o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	t.Cleanup(func() {
		s.CloseIdle()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return &proxy{Server: s, Listener: l}
}
