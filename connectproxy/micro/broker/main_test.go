package broker

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"connect-proxy/config"
	"connect-proxy/listener/listenertest"
)

func TestMain(m *testing.M) { listenertest.Leaks(m) }

// mesh is what a Broker sees of one.
type mesh struct {
	mu       sync.Mutex          // guards what follows
	topics   map[string][]string // of names in the catalog
	behind   map[string][]string
	broken   error
	asked    int
	got      map[string][]Event
	sendTo   func(ctx context.Context, service string) error
	senders  int
	notThere map[string]bool // services that events may not go to
}

func (m *mesh) Services(context.Context) (map[string][]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.asked++
	return m.topics, m.broken
}

func (m *mesh) Behind(_ context.Context, name string) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.asked++
	if services, ok := m.behind[name]; ok {
		return services, m.broken
	}
	return []string{name}, m.broken
}

// fakeSender is a connection to a service of the mesh.
type fakeSender struct {
	m  *mesh
	to string
}

func (s *fakeSender) Send(ctx context.Context, e *Event) error {
	if s.m.sendTo != nil {
		if err := s.m.sendTo(ctx, s.to); err != nil {
			return err
		}
	}
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	if s.m.got == nil {
		s.m.got = make(map[string][]Event)
	}
	s.m.got[s.to] = append(s.m.got[s.to], *e)
	return nil
}

func (s *fakeSender) Close() {
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	s.m.senders--
}

func (m *mesh) sent(service string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.got[service])
}

// door is a Broker behind a server.
type door struct {
	*Broker
	t   *testing.T
	url string
}

// start runs a Broker of the service shop until the test ends.
func start(t *testing.T, m *mesh) *door {
	t.Helper()
	b := New(Options{
		Topic: func(topic string) bool { return !strings.HasPrefix(topic, "secret") },
		Service: func(name string) (config.Destination, bool) {
			return config.Destination{Type: config.Service, Name: name}, !m.notThere[name]
		},
		Own: func() string { return "shop" },
		Sender: func(to config.Destination) Sender {
			m.mu.Lock()
			defer m.mu.Unlock()
			m.senders++
			return &fakeSender{m, to.Name}
		},
		Catalog: m,
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx) }()
	mux := http.NewServeMux()
	mux.Handle("/broker", b)
	mux.HandleFunc("/", b.ServePublisher)
	mux.HandleFunc("/event", b.ServeEvent)
	server := httptest.NewServer(mux)
	t.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		server.Close()
		http.DefaultClient.CloseIdleConnections()
		b.mu.Lock()
		defer b.mu.Unlock()
		if used := b.used.Load(); used != 0 || len(b.topics)+b.subscribed+len(b.outboxes) != 0 || m.senders != 0 {
			t.Errorf("at the end: %d bytes, %d topics, %d subscribers, %d queues, %d senders", used, len(b.topics), b.subscribed, len(b.outboxes), m.senders)
		}
	})
	return &door{b, t, server.URL}
}

// send sends a request and returns the answer without its body.
func (d *door) send(path, body string, headers ...string) *http.Response {
	d.t.Helper()
	r, err := http.NewRequest(http.MethodPost, d.url+path, strings.NewReader(body))
	if err != nil {
		d.t.Fatal(err)
	}
	for _, h := range headers {
		k, v, _ := strings.Cut(h, ": ")
		r.Header.Set(k, v)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		d.t.Fatal(err)
	}
	_ = answer.Body.Close()
	return answer
}

// post publishes, and returns the status.
func (d *door) post(path, body string, headers ...string) int {
	d.t.Helper()
	return d.send(path, body, headers...).StatusCode
}

// subscriber is an application that subscribes.
type subscriber struct {
	t      *testing.T
	events chan string // what it takes, one at a time
	leave  func()
}

// join subscribes to a topic, alone or in a queue.
func (d *door) join(topic, queue string) *subscriber {
	d.t.Helper()
	subscription, err := d.Subscribe(topic, queue)
	if err != nil {
		d.t.Fatal(err)
	}
	s := &subscriber{t: d.t, events: make(chan string)}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer subscription.Close()
		_ = subscription.Run(ctx, func(event []byte) error {
			select {
			case s.events <- string(event):
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	}()
	s.leave = sync.OnceFunc(func() {
		cancel()
		<-done
	})
	d.t.Cleanup(s.leave)
	return s
}

// next is the next event that a subscriber gets.
func (s *subscriber) next() string {
	s.t.Helper()
	select {
	case e := <-s.events:
		return e
	case <-time.After(20 * time.Second):
		s.t.Fatal("no event")
		return ""
	}
}

// bring brings an event as another proxy does, and returns the error.
func (d *door) bring(body string, headers ...string) string {
	d.t.Helper()
	answer := d.send("/event", body, headers...)
	if answer.StatusCode != http.StatusOK {
		d.t.Errorf("status %d", answer.StatusCode)
	}
	return answer.Header.Get("Micro-Error")
}
