package adminapi

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"connect-proxy/connectproxy/admin"
	"connect-proxy/connectproxy/events"
)

// fakeProxy is a Source whose answers tests set.
type fakeProxy struct {
	mu          sync.Mutex
	proxy       Proxy
	connections []Connection
	upstreams   []Upstream
	certs       Certificates
	intentions  Intentions
	config      Config
	closed      []uint64
	moves       int
}

var _ Source = (*fakeProxy)(nil)

// busyProxy is one that has something to show everywhere.
func busyProxy() *fakeProxy {
	now := time.Now()
	web, api := "spiffe://11111111-2222-3333-4444-555555555555.consul/ns/default/dc/dc1/svc/web", "spiffe://11111111-2222-3333-4444-555555555555.consul/ns/default/dc/dc1/svc/api"
	f := &fakeProxy{
		proxy: Proxy{
			Version: "0.1.0", Service: "orders", ServiceID: "orders-1", ProxyID: "orders-1-sidecar-proxy", Mode: "registered",
			Ready: true, Reasons: []string{}, UptimeSeconds: 93784, Agent: Agent{Address: "http://127.0.0.1:8500"},
			Listeners: []Listener{{Name: "public", Direction: "inbound", Address: "10.0.0.7:20000", To: "127.0.0.1:8080", Up: true, Live: 4}},
		},
		upstreams: []Upstream{
			{Destination: "db", Address: "127.0.0.1:9191", Balance: "least_connections", Live: 2, Known: true, AgeSeconds: 0.6,
				Failures: map[string]uint64{"dial_timeout": 3}, Instances: []Instance{
					{ID: "node-a/db-1", Address: "10.0.0.11:20000", Live: 2},
					{ID: "node-b/db-2", Address: "10.0.0.12:20000", Failures: 3, Error: "dial tcp 10.0.0.12:20000: i/o timeout", SetAside: true, SetAsideSeconds: 41},
				}},
			{Destination: "cache.dc.dc2", Address: "127.0.0.1:9192", Balance: "round_robin", Known: true, AgeSeconds: 2, Failures: map[string]uint64{}, Instances: []Instance{}, Problem: "no healthy instance"},
		},
		certs: Certificates{
			SpiffeID: "spiffe://11111111-2222-3333-4444-555555555555.consul/ns/default/dc/dc1/svc/orders", Changes: 2,
			Leaf:  &Leaf{Serial: "0c:41:7e", NotBefore: now.Add(-50 * time.Hour), NotAfter: now.Add(22 * time.Hour), RemainingSeconds: 22 * 3600},
			Roots: []Root{{ID: "7b:1f:aa:09", Active: true, NotAfter: now.AddDate(9, 0, 0)}},
		},
		intentions: Intentions{Public: true, Decisions: []Decision{
			{Peer: web, Source: "web", Known: true, Allowed: true, Reason: "Matched intention: ALLOW default/web => default/orders", AgeSeconds: 12},
			{Peer: api, Source: "api", Known: true, Reason: "Default intention policy", AgeSeconds: 31},
		}},
		config: Config{From: "registration orders-1-sidecar-proxy", AgeSeconds: 7000, Warnings: []string{"protocol = \"http\": treated as TCP"}, SecurityWarnings: []string{},
			Settings: []Setting{{"public_listener.bind_port", "20000", "registration orders-1-sidecar-proxy"}, {"drain_timeout", "30s", "default"}}},
	}
	for i := range 6 {
		c := Connection{ID: uint64(i + 1), Listener: "public", Direction: "inbound", Source: "web", Destination: "orders", Client: fmt.Sprintf("10.0.0.3:%d", 40000+i),
			Peer: web, Instance: "127.0.0.1:8080", Phase: "relay", TLSVersion: "1.3", ToDestinationBytes: int64(1000 * i), ToSourceBytes: int64(900000 * i), Start: now.Add(-time.Minute), AgeSeconds: 60}
		if i >= 4 {
			c.Listener, c.Direction, c.Source, c.Destination, c.Client, c.Instance, c.InstanceAddress = "db", "outbound", "orders", "db", "127.0.0.1:50000", "node-a/db-1", "10.0.0.11:20000"
		}
		f.connections = append(f.connections, c)
	}
	return f
}

func (f *fakeProxy) Proxy() Proxy {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.proxy
}

func (f *fakeProxy) Connections() []Connection {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]Connection(nil), f.connections...)
}

func (f *fakeProxy) CloseConnection(id uint64) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range f.connections {
		if f.connections[i].ID == id {
			f.closed = append(f.closed, id)
			f.connections = append(f.connections[:i:i], f.connections[i+1:]...)
			return true
		}
	}
	return false
}

func (f *fakeProxy) Upstreams() []Upstream      { return f.upstreams }
func (f *fakeProxy) Certificates() Certificates { return f.certs }
func (f *fakeProxy) Intentions() Intentions     { return f.intentions }
func (f *fakeProxy) Config() Config             { return f.config }

// move has every connection pass some bytes.
func (f *fakeProxy) move() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.moves++
	for i := range f.connections {
		burst := int64(1 + f.moves/10*(i+3)%7) // another rate each two seconds
		f.connections[i].ToDestinationBytes += 3000 * burst
		f.connections[i].ToSourceBytes += 120000 * burst
	}
}

func (f *fakeProxy) set(change func(*fakeProxy)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f)
}

// newEvents is a History with a logger that feeds it.
func newEvents() (hclog.Logger, *events.History) {
	h := events.New()
	l := hclog.NewInterceptLogger(&hclog.LoggerOptions{Output: io.Discard})
	l.RegisterSink(h)
	return l, h
}

// page asks for a page without a network.
func page(t *testing.T, o Options, method, target string) *httptest.ResponseRecorder {
	t.Helper()
	mux := http.NewServeMux()
	for pattern, h := range Bounded(Pages(o), nil) {
		mux.Handle(pattern, h)
	}
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequest(method, "http://127.0.0.1:19000"+target, nil))
	return w
}

// serve runs a real admin.Server with these pages on a loopback port.
func serve(t *testing.T, pages admin.Pages) (address string) {
	t.Helper()
	s, err := admin.New(admin.Options{Name: "admin", Address: "127.0.0.1:0", Pages: pages})
	if err != nil {
		t.Fatal(err)
	}
	return run(t, s)
}
