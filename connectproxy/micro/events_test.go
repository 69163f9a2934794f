package micro

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"connect-proxy/connectproxy/agenttest"
	"connect-proxy/connectproxy/micro/broker"
	"connect-proxy/listener"
)

// publishing is start with what hands out events.
func publishing(t *testing.T, m *mesh) (p *proxy, fromMesh *listener.InProcess) {
	t.Helper()
	s := newServer(t, m)
	events := listener.NewInProcess()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx, events) }()
	p = listen(t, s, listener.Options{Request: s.Request})
	t.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	return p, events
}

// subscribe joins a websocket at an address and waits until it has subscribed.
func subscribe(t *testing.T, address, query string) *websocket.Conn {
	t.Helper()
	c, _, err := websocket.Dial(t.Context(), "ws://"+address+"/broker?"+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.CloseNow() })
	return c
}

func nextEvent(t *testing.T, c *websocket.Conn) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	_, text, err := c.Read(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestEventsGoToWebsocketsAndToServicesThatSubscribe(t *testing.T) {
	got := make(chan *http.Request, 10)
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(strings.NewReader(string(body)))
		got <- r
	}))
	t.Cleanup(service.Close)
	p, _ := publishing(t, &mesh{
		services: map[string]string{"billing": service.Listener.Addr().String()},
		topics:   map[string][]string{"billing": {"orders"}, "nobody": {"orders"}},
	})
	c := subscribe(t, p.address(), "topic=orders")
	for path, body := range map[string]string{
		"/broker?topic=orders": "hello",
		"/?id=orders-1":        `{"Header":{"Micro-Topic":"orders","Content-Type":"application/json"},"Body":"aGVsbG8="}`,
	} {
		if status, _, text := p.send(t, "POST", path, "application/json", body); status != 200 {
			t.Fatalf("%s: %d %s", path, status, text)
		}
		if text := nextEvent(t, c); !strings.Contains(text, `"Body":"aGVsbG8="`) {
			t.Errorf("the websocket got %s", text)
		}
		select {
		case r := <-got:
			sent, _ := io.ReadAll(r.Body)
			if r.Method != http.MethodPost || r.URL.Path != "/" || r.Host != "billing" || string(sent) != "hello" ||
				r.Header.Get("Micro-Topic") != "orders" || r.Header.Get("Content-Type") != "application/json" {
				t.Errorf("the service got %s %s of %s: %v %q", r.Method, r.URL, r.Host, r.Header, sent)
			}
		case <-time.After(20 * time.Second):
			t.Fatal("the service got nothing")
		}
	}
}

func TestPagesOfBrowsersNeitherPublishNorSubscribe(t *testing.T) {
	p, _ := publishing(t, &mesh{})
	c := subscribe(t, p.address(), "topic=orders")
	for what, h := range map[string]http.Header{
		"an origin":           {"Origin": {"http://" + p.address()}},
		"another origin":      {"Origin": {"https://example.com"}},
		"no origin":           {"Origin": {"null"}},
		"an empty origin":     {"Origin": {""}},
		"a fetch of its site": {"Sec-Fetch-Site": {"same-origin"}},
		"another host":        {"Host": {"example.com"}},
	} {
		for _, path := range []string{"/broker?topic=orders", "/?id=x", "/_sub?id=x"} {
			r, _ := http.NewRequest(http.MethodPost, "http://"+p.address()+path, strings.NewReader(`{"Header":{"Micro-Topic":"orders"},"Body":""}`))
			r.Header, r.Host = h.Clone(), h.Get("Host")
			answer, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			_ = answer.Body.Close()
			if answer.StatusCode != http.StatusForbidden {
				t.Errorf("%s published at %s: %s", what, path, answer.Status)
			}
		}
		_, answer, err := websocket.Dial(t.Context(), "ws://"+p.address()+"/broker?topic=orders",
			&websocket.DialOptions{HTTPHeader: h, Host: h.Get("Host")})
		if err == nil || answer.StatusCode != http.StatusForbidden {
			t.Errorf("%s subscribed: %v", what, err)
		}
	}
	http.DefaultClient.CloseIdleConnections()
	if status, _, _ := p.send(t, "POST", "/broker?topic=orders", "", "the only one"); status != 200 {
		t.Errorf("status %d", status)
	}
	if text := nextEvent(t, c); !strings.Contains(text, "dGhlIG9ubHkgb25l") {
		t.Errorf("published by a page: %s", text)
	}
	if status, _, _ := p.send(t, "POST", "/broker?topic=secret", "", "x"); status != 403 {
		t.Errorf("a topic that is not allowed: %d", status)
	}
}

func TestAnEventIsOfferedToAnotherInstanceWhereNobodySubscribes(t *testing.T) {
	var asked atomic.Int64
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if asked.Add(1) < 3 {
			w.Header().Set(headerError, `{"id":"connect-proxy","code":404,"detail":"nobody","status":"Not Found"}`)
		}
	}))
	t.Cleanup(service.Close)
	m := &mesh{services: map[string]string{"billing": service.Listener.Addr().String()}, topics: map[string][]string{"billing": {"orders"}}}
	p, _ := publishing(t, m)
	p.send(t, "POST", "/broker?topic=orders", "", "x")
	agenttest.Eventually(t, 20*time.Second, func() error {
		if n := asked.Load(); n < 3 {
			return fmt.Errorf("asked %d times", n)
		}
		return nil
	})
	if n := m.dials(); n != 3 {
		t.Errorf("%d connections for three offers", n)
	}
}

func TestWhatAWebsocketSendsIsPublished(t *testing.T) {
	p, _ := publishing(t, &mesh{})
	a, b := subscribe(t, p.address(), "topic=orders"), subscribe(t, p.address(), "topic=orders")
	if err := a.Write(t.Context(), websocket.MessageText, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	for _, c := range []*websocket.Conn{a, b} {
		if got := nextEvent(t, c); got != `{"Header":{"Content-Type":"text/plain","Micro-Topic":"orders"},"Body":"aGVsbG8="}` {
			t.Error(got)
		}
	}
	for query, want := range map[string]int{"topic=secret": 403, "": 400, "topic=orders&queue=a%0ab": 400} {
		_, answer, err := websocket.Dial(t.Context(), "ws://"+p.address()+"/broker?"+query, nil)
		if err == nil || answer.StatusCode != want {
			t.Errorf("subscribing to %q: %v", query, err)
		}
	}
}

func TestAWebsocketThatGoesDuringADeliveryLeavesNothing(t *testing.T) {
	p, _ := publishing(t, &mesh{})
	stop, published := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(published)
		for {
			select {
			case <-stop:
				return
			default:
				_ = p.broker.Publish(context.Background(), broker.Event{Topic: "orders", Body: make([]byte, 10<<10)})
			}
		}
	}()
	for i := range 10 {
		c := subscribe(t, p.address(), "topic=orders")
		nextEvent(t, c)
		if i%2 == 0 {
			_ = c.CloseNow()
		} else {
			_ = c.Close(websocket.StatusNormalClosure, "")
		}
	}
	agenttest.Eventually(t, 20*time.Second, func() error {
		if n := len(p.subscribers); n > 0 {
			return fmt.Errorf("%d are left", n)
		}
		return nil
	})
	close(stop)
	<-published
}

func TestAWebsocketThatDoesNotReadIsEnded(t *testing.T) {
	p, _ := publishing(t, &mesh{})
	p.messageTime = 100 * time.Millisecond
	_ = subscribe(t, p.address(), "topic=orders")
	for until := time.Now().Add(20 * time.Second); len(p.subscribers) > 0; {
		_ = p.broker.Publish(t.Context(), broker.Event{Topic: "orders", Body: make([]byte, 512<<10)})
		if time.Now().After(until) {
			t.Fatal("it is still there")
		}
	}
}

func TestTheDrainEndsWebsocketsInOrder(t *testing.T) {
	p, _ := publishing(t, &mesh{})
	c := subscribe(t, p.address(), "topic=orders")
	p.CloseIdle()
	if _, _, err := c.Read(t.Context()); websocket.CloseStatus(err) != websocket.StatusGoingAway {
		t.Errorf("%v", err)
	}
}

func TestTopicsAreFoundInTheTagsOfServices(t *testing.T) {
	subscriber := func(topic string) string {
		return fold("e", fmt.Sprintf(`{"name":"Func","metadata":{"subscriber":"true","topic":%q}}`, topic))
	}
	got := TopicsOf([]string{
		"web", "micro-topic=stock", subscriber("orders"), fold("e", `{"name":"Greeter.Hello"}`), fold("e", `{"metadata":7}`),
		"e-zz", fold("t", `{"topic":"no"}`), fold("e", `{"metadata":{"topic":"unsubscribed"}}`), fold("e", strings.Repeat(" ", maxTag+1)+"{}"),
	})
	if !slices.Equal(got, []string{"stock", "orders"}) {
		t.Errorf("%q", got)
	}
}
