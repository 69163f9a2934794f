package micro

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"connect-proxy/listener"
	"connect-proxy/listener/listenertest"
)

// watching is a Server whose registry is c and is looked at often.
func watching(t *testing.T, c *catalog, change ...func(*Server)) *proxy {
	t.Helper()
	return start(t, &mesh{}, append([]func(*Server){func(s *Server) {
		s.o.Registry = c
		s.watchInterval = 20 * time.Millisecond
	}}, change...)...)
}

func (c *catalog) set(name string, instances ...Instance) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all[name] = instances
}

func (c *catalog) remove(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.all, name)
}

// open opens a websocket, or returns the status of the answer.
func (p *proxy) open(t *testing.T, path string, headers ...string) (*websocket.Conn, int) {
	t.Helper()
	h := http.Header{}
	for _, line := range headers {
		k, v, _ := strings.Cut(line, ": ")
		h.Set(k, v)
	}
	tr := &http.Transport{DisableKeepAlives: true}
	c, r, err := websocket.Dial(t.Context(), "ws://"+p.address()+path, &websocket.DialOptions{HTTPHeader: h, HTTPClient: &http.Client{Transport: tr}})
	if err != nil && r == nil {
		t.Fatal(err)
	}
	if c != nil {
		t.Cleanup(func() { _ = c.CloseNow() })
	}
	return c, r.StatusCode
}

// next is the next event of a client that watches.
func next(t *testing.T, c *websocket.Conn) registryEvent {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	_, text, err := c.Read(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(string(text), `{"Action":"`) || !strings.Contains(string(text), `,"Service":{"name":"`) {
		t.Errorf("not Micro's form: %s", text)
	}
	var e registryEvent
	if err := json.Unmarshal(text, &e); err != nil {
		t.Fatal(err)
	}
	return e
}

// is compares an event with an action, a name, a version and the IDs of nodes.
func (e registryEvent) is(t *testing.T, want string) {
	t.Helper()
	got := []string{e.Action, e.Service.Name, e.Service.Version}
	for _, n := range e.Service.Nodes {
		got = append(got, n.ID)
	}
	if text := strings.Join(got, " "); text != want {
		t.Errorf("%q, want %q", text, want)
	}
}

func TestWhoWatchesTheRegistryIsToldWhatComesChangesAndGoes(t *testing.T) {
	c := &catalog{all: map[string][]Instance{"greeter": {{ID: "g2"}, {ID: "g1"}}}}
	p := watching(t, c)
	w, status := p.open(t, "/registry")
	if status != http.StatusSwitchingProtocols {
		t.Fatal(status)
	}
	next(t, w).is(t, "create greeter  g1 g2")
	c.set("greeter", Instance{ID: "g2"}, Instance{ID: "g3", Tags: []string{fold("v", "2")}})
	next(t, w).is(t, "delete greeter  g1")
	next(t, w).is(t, "update greeter  g2")
	next(t, w).is(t, "create greeter 2 g3")
	c.set("shop", Instance{ID: "s"})
	next(t, w).is(t, "create shop  s")
	c.set("greeter", Instance{ID: "g2"})
	next(t, w).is(t, "delete greeter 2 g3")
	c.remove("greeter")
	next(t, w).is(t, "delete greeter  g2")
	next(t, w).is(t, "delete greeter ")
}

func TestOneServiceAloneCanBeWatched(t *testing.T) {
	c := &catalog{all: map[string][]Instance{"other": {{ID: "o"}}}}
	p := watching(t, c)
	w, _ := p.open(t, "/registry?service=greeter")
	c.set("greeter", Instance{ID: "g"})
	next(t, w).is(t, "create greeter  g")
	c.remove("greeter")
	next(t, w).is(t, "delete greeter  g")
}

func TestWhoWatchesTheRegistrySeesOnlyWhatMayBeCalled(t *testing.T) {
	c := &catalog{all: map[string][]Instance{"secret": {{ID: "s"}}, "shop": {{ID: "s"}}}}
	p := watching(t, c)
	allow(t, p.Server, "shop", "till")
	w, _ := p.open(t, "/registry")
	next(t, w).is(t, "create shop  s")
	if _, status := p.open(t, "/registry?service=secret"); status != http.StatusForbidden {
		t.Errorf("a service that may not be called: %d", status)
	}
	allow(t, p.Server, "till")
	next(t, w).is(t, "delete shop  s")
	next(t, w).is(t, "delete shop ")
	c.set("till", Instance{ID: "t"})
	next(t, w).is(t, "create till  t")
}

func TestAnAgentThatDoesNotAnswerTakesNothingAwayFromWhoWatches(t *testing.T) {
	c := &catalog{all: map[string][]Instance{"greeter": {{ID: "g"}}}}
	p := watching(t, c)
	w, _ := p.open(t, "/registry")
	next(t, w).is(t, "create greeter  g")
	c.fail(true)
	before := c.count()
	listenertest.Eventually(t, "it is asked in vain", func() bool { return c.count() >= before+3 })
	c.fail(false)
	c.set("shop", Instance{ID: "s"})
	next(t, w).is(t, "create shop  s")
}

func TestManyServicesAreWatchedInTurns(t *testing.T) {
	c := &catalog{all: map[string][]Instance{}}
	names := map[string]bool{}
	for i := range 3 * maxPerPoll {
		name := "s" + strings.Repeat("x", i)
		names[name] = true
		c.set(name, Instance{ID: "1"})
	}
	p := watching(t, c)
	w, _ := p.open(t, "/registry")
	for range len(names) {
		delete(names, next(t, w).Service.Name)
	}
	if len(names) > 0 {
		t.Errorf("never told of %v", names)
	}
	for _, name := range []string{"s", "s" + strings.Repeat("x", 3*maxPerPoll-1)} {
		c.set(name, Instance{ID: "1", Port: 80})
		next(t, w).is(t, "update "+name+"  1")
	}
}

func TestTheNumberOfWhoWatchTheRegistryIsBounded(t *testing.T) {
	c := &catalog{all: map[string][]Instance{}}
	p := watching(t, c)
	var first *websocket.Conn
	for range maxWatchers {
		w, status := p.open(t, "/registry")
		if status != http.StatusSwitchingProtocols {
			t.Fatal(status)
		}
		first = w
	}
	if _, status := p.open(t, "/registry"); status != http.StatusServiceUnavailable {
		t.Errorf("one too many: %d", status)
	}
	_ = first.Close(websocket.StatusNormalClosure, "")
	listenertest.Eventually(t, "there is room again", func() bool {
		_, status := p.open(t, "/registry")
		return status == http.StatusSwitchingProtocols
	})
}

func TestManyWhoWatchCostTheAgentWhatOneDoes(t *testing.T) {
	c := &catalog{all: map[string][]Instance{"greeter": {{ID: "g"}}}}
	p := start(t, &mesh{}, func(s *Server) {
		s.o.Registry = c
		s.watchInterval = time.Hour // one look each
	})
	for range 10 {
		w, _ := p.open(t, "/registry")
		next(t, w).is(t, "create greeter  g")
	}
	if n := c.count(); n != 2 {
		t.Errorf("%d questions for ten who watch", n)
	}
}

func TestWhoWatchesAndDoesNotReadIsDropped(t *testing.T) {
	long := strings.Repeat("x", 1<<20)
	c := &catalog{all: map[string][]Instance{"greeter": {{ID: "g", Meta: map[string]string{"n": long}}}}}
	p := watching(t, c, func(s *Server) { s.messageTime = 200 * time.Millisecond })
	p.open(t, "/registry")
	port := 0
	listenertest.Within(t, time.Minute, "who does not read what is sent is dropped", func() bool {
		port++
		c.set("greeter", Instance{ID: "g", Port: port, Meta: map[string]string{"n": long}})
		return len(p.watchers) == 0
	})
}

func TestWhoWatchesAndDoesNotAnswerAPingIsDropped(t *testing.T) {
	p := watching(t, &catalog{all: map[string][]Instance{}}, func(s *Server) {
		s.pingInterval, s.pongTime = 10*time.Millisecond, 100*time.Millisecond
	})
	p.open(t, "/registry") // and does not read
	listenertest.Eventually(t, "who does not answer is dropped", func() bool { return len(p.watchers) == 0 })
}

func TestWhoWatchesIsToldWhenTheProxyStops(t *testing.T) {
	p := watching(t, &catalog{all: map[string][]Instance{}})
	w, _ := p.open(t, "/registry")
	p.CloseIdle()
	p.CloseIdle()
	_, _, err := w.Read(t.Context())
	if websocket.CloseStatus(err) != websocket.StatusGoingAway {
		t.Error(err)
	}
}

func TestWhoWatchesMaySendButIsNotHeard(t *testing.T) {
	c := &catalog{all: map[string][]Instance{}}
	p := watching(t, c)
	w, _ := p.open(t, "/registry")
	if err := w.Write(t.Context(), websocket.MessageText, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	c.set("shop", Instance{ID: "s"})
	next(t, w).is(t, "create shop  s")
	if err := w.Write(t.Context(), websocket.MessageText, make([]byte, maxFrame+1)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := w.Read(t.Context()); websocket.CloseStatus(err) != websocket.StatusMessageTooBig {
		t.Errorf("a message that is too long: %v", err)
	}
}

func TestAPageInABrowserWatchesNothing(t *testing.T) {
	p := watching(t, &catalog{all: map[string][]Instance{}})
	for _, header := range []string{"Origin: http://evil.example", "Origin: http://" + p.address(), "Origin: null", "Sec-Fetch-Site: same-origin"} {
		if _, status := p.open(t, "/registry", header); status != http.StatusForbidden {
			t.Errorf("%s: %d", header, status)
		}
	}
}

func TestWhoWatchesIsCutWithItsConnection(t *testing.T) {
	p := watching(t, &catalog{all: map[string][]Instance{}})
	w, _ := p.open(t, "/registry")
	for _, c := range p.Connections() {
		p.CloseConnection(c.ID, listener.ReasonDenied)
	}
	if _, _, err := w.Read(t.Context()); err == nil {
		t.Error("it goes on")
	}
	listenertest.Eventually(t, "its place is free", func() bool { return len(p.watchers) == 0 })
}
