package broker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"connect-proxy/listener/listenertest"
)

func TestAnEventReachesEachSubscriberOfItsTopicAndOneOfAQueue(t *testing.T) {
	d := start(t, &mesh{})
	a, b, other := d.join("orders", ""), d.join("orders", ""), d.join("other", "")
	q := []*subscriber{d.join("orders", "q"), d.join("orders", "q")}
	for i := range 4 {
		if status := d.post("/broker?topic=orders", fmt.Sprint("event ", i), "Stamp: 7"); status != 200 {
			t.Fatalf("status %d", status)
		}
	}
	d.post("/broker?topic=other", "the other")
	for _, s := range []*subscriber{a, b} {
		for i, want := range []string{"ZXZlbnQgMA==", "ZXZlbnQgMQ==", "ZXZlbnQgMg==", "ZXZlbnQgMw=="} {
			if got := s.next(); !strings.Contains(got, `"Body":"`+want) || !strings.Contains(got, `"Micro-Topic":"orders"`) || !strings.Contains(got, `"Stamp":"7"`) {
				t.Errorf("event %d: %s", i, got)
			}
		}
	}
	if got := other.next(); !strings.Contains(got, `"Micro-Topic":"other"`) {
		t.Errorf("of the other topic: %s", got)
	}
	for _, s := range q { // two each
		one, two := s.next(), s.next()
		if one == two {
			t.Errorf("an event twice: %s", one)
		}
	}
}

func TestAnEventGoesOnceToEachServiceThatSubscribes(t *testing.T) {
	m := &mesh{
		topics: map[string][]string{
			"billing": {"orders"}, "billing-proxy": {"orders"}, "mail": {"ord*", "not a topic"}, "shop-proxy": {"orders"}, "stock": {"stock"}, "denied": {"*"}, "gone": {"*"},
		},
		behind:   map[string][]string{"billing-proxy": {"billing"}, "shop-proxy": {"shop"}, "gone": nil},
		notThere: map[string]bool{"denied": true},
	}
	d := start(t, m)
	send := func() {
		t.Helper()
		if status := d.post("/broker?topic=orders", "x", "Micro-Service: secret", "Micro-Topic: secret", "Content-Type: application/json"); status != 200 {
			t.Fatalf("status %d", status)
		}
	}
	send()
	listenertest.Eventually(t, "three get it", func() bool { return m.sent("billing") == 1 && m.sent("mail") == 1 && m.sent("shop") == 1 })
	// A subscriber here stands for the proxy's own service.
	s := d.join("orders", "")
	send()
	s.next()
	listenertest.Eventually(t, "two get it", func() bool { return m.sent("billing") == 2 && m.sent("mail") == 2 })
	if m.sent("shop") != 1 || m.sent("stock")+m.sent("denied")+m.sent("gone") != 0 {
		t.Errorf("%v", m.got)
	}
	h := m.got["billing"][0].Header
	if _, ok := h["Micro-Service"]; ok || h["Micro-Topic"] != "orders" || h["Content-Type"] != "application/json" {
		t.Errorf("header %v", h)
	}
	listenertest.Eventually(t, "connections are closed", func() bool { m.mu.Lock(); defer m.mu.Unlock(); return m.senders == 0 })
}

func TestWhatMayNotBePublishedIsRefused(t *testing.T) {
	d := start(t, &mesh{})
	long := strings.Repeat("x", MaxBody+1)
	for what, tc := range map[string]struct {
		path, body string
		want       int
	}{
		"no topic":           {"/broker", "", 400},
		"a topic with space": {"/broker?topic=a%20b", "", 400},
		"a long topic":       {"/broker?topic=" + strings.Repeat("x", MaxName+1), "", 400},
		"not allowed":        {"/broker?topic=secrets", "", 403},
		"a long event":       {"/broker?topic=orders", long, 413},
		"nobody subscribes":  {"/broker?topic=orders", long[1:], 200},
		"not JSON":           {"/?id=x", "{", 400},
		"JSON, no topic":     {"/?id=x", `{"Header":{},"Body":""}`, 400},
		"JSON, not allowed":  {"/?id=x", `{"Header":{"Micro-Topic":"secrets"},"Body":""}`, 403},
		"JSON, long":         {"/?id=x", strings.Repeat(" ", maxJSON+1), 413},
	} {
		if got := d.post(tc.path, tc.body); got != tc.want {
			t.Errorf("%s: %d, want %d", what, got, tc.want)
		}
	}
	for topic, want := range map[string]error{"secrets": ErrNotAllowed, "": ErrNoTopic, "a b": ErrName} {
		if _, err := d.Subscribe(topic, ""); !errors.Is(err, want) {
			t.Errorf("subscribing to %q: %v", topic, err)
		}
	}
	if _, err := d.Subscribe("orders", "a\nb"); !errors.Is(err, ErrName) {
		t.Errorf("a queue that is none: %v", err)
	}
}

func TestPublishersOfGoMicroAreUnderstood(t *testing.T) {
	d := start(t, &mesh{})
	s := d.join("orders", "")
	for _, tc := range []struct{ path, key string }{{"/?id=orders-1", "Micro-Topic"}, {"/_sub?id=orders-1", ":topic"}} {
		if status := d.post(tc.path, `{"Header":{"`+tc.key+`":"orders","Micro-Id":"5"},"Body":"aGVsbG8="}`, "Content-Type: application/json"); status != 200 {
			t.Fatalf("status %d", status)
		}
		if got := s.next(); got != `{"Header":{"Micro-Id":"5","Micro-Topic":"orders"},"Body":"aGVsbG8="}` {
			t.Error(got)
		}
	}
}

func TestWhatAnotherProxyBringsGoesToSubscribersAlone(t *testing.T) {
	m := &mesh{topics: map[string][]string{"billing": {"*"}}}
	d := start(t, m)
	s := d.join("orders", "")
	for what, tc := range map[string]struct {
		headers []string
		body    string
		want    string
	}{
		"an event":      {[]string{"Micro-Topic: orders", "Micro-Id: 9"}, "hello", ""},
		"nobody":        {[]string{"Micro-Topic: other"}, "", "404"},
		"not allowed":   {[]string{"Micro-Topic: secrets"}, "", "403"},
		"too long":      {[]string{"Micro-Topic: orders"}, strings.Repeat("x", MaxBody+1), "413"},
		"a call":        {[]string{"Micro-Service: greeter"}, "", "400"},
		"both":          {[]string{"Micro-Service: greeter", "Micro-Topic: orders"}, "", "400"},
		"nothing of it": {nil, "", "400"},
	} {
		got := d.bring(tc.body, tc.headers...)
		if tc.want == "" && got != "" || !strings.Contains(got, tc.want) {
			t.Errorf("%s: %q, want %s", what, got, tc.want)
		}
		if IsNobody(got) != (what == "nobody") {
			t.Errorf("%s: %q", what, got)
		}
	}
	if got := s.next(); !strings.Contains(got, `"Body":"aGVsbG8="`) || !strings.Contains(got, `"Micro-Id":"9"`) {
		t.Error(got)
	}
	if m.sent("billing") != 0 {
		t.Error("an event went on to another service")
	}
}

func TestAnEventThatStopsHalfWayIsGivenUp(t *testing.T) {
	d := start(t, &mesh{})
	d.readTime = 100 * time.Millisecond
	for _, path := range []string{"/broker?topic=orders", "/?id=x", "/event"} {
		c, err := net.Dial("tcp", strings.TrimPrefix(d.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		_ = c.SetDeadline(time.Now().Add(20 * time.Second))
		_, _ = fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: here\r\nMicro-Topic: orders\r\nContent-Length: 10\r\n\r\nabc", path)
		text, err := io.ReadAll(c)
		if err != nil || !strings.Contains(string(text), ErrUnread.Error()) {
			t.Errorf("%s: %q, %v", path, text, err)
		}
	}
}

func TestASubscriberThatTakesNothingCostsNobodyElseAnything(t *testing.T) {
	stuck := make(chan struct{})
	m := &mesh{topics: map[string][]string{"slow": {"*"}, "quick": {"*"}}}
	m.sendTo = func(ctx context.Context, service string) error {
		if service == "quick" {
			return nil
		}
		select {
		case <-stuck:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	d := start(t, m)
	_ = d.join("orders", "") // reads nothing
	s := d.join("orders", "")
	const events = 4 * MaxQueue
	for i := range events {
		if status := d.post("/broker?topic=orders", strings.Repeat("x", 100<<10)); status != 200 {
			t.Fatalf("event %d: status %d", i, status)
		}
		s.next()
		listenertest.Eventually(t, "the quick one gets it", func() bool { return m.sent("quick") == i+1 })
	}
	if used := d.used.Load(); used > 3*MaxQueueSize {
		t.Errorf("%d bytes wait for two who take nothing", used)
	}
	close(stuck)
	listenertest.Eventually(t, "what waits is sent", func() bool { return m.sent("slow") > 0 })
}

func TestAServiceThatCannotBeReachedLosesWhatWaitsForIt(t *testing.T) {
	m := &mesh{topics: map[string][]string{"away": {"*"}}}
	again := make(chan error)
	m.sendTo = func(context.Context, string) error { return <-again }
	d := start(t, m)
	for range 10 {
		if err := d.Publish(t.Context(), Event{Topic: "orders", Body: []byte("x")}); err != nil {
			t.Fatal(err)
		}
	}
	again <- errors.New("no instance")
	listenertest.Eventually(t, "the queue is gone", func() bool { d.mu.Lock(); defer d.mu.Unlock(); return len(d.outboxes) == 0 })
	if err := d.Publish(t.Context(), Event{Topic: "orders", Body: []byte("y")}); err != nil {
		t.Fatal(err)
	}
	again <- nil
	listenertest.Eventually(t, "a later one arrives", func() bool { return m.sent("away") == 1 })
	if got := string(m.got["away"][0].Body); got != "y" {
		t.Errorf("got %s", got)
	}
	if c := d.Counts(); c.Lost[toService][lossFailed] != 10 || len(c.Lost) != 1 || c.Events[fromApplication]["taken"] != 11 {
		t.Errorf("counted: %+v", c)
	}
}

func TestEventsForAllSubscribersTogetherAreBoundedInMemory(t *testing.T) {
	m := &mesh{topics: map[string][]string{}}
	for i := range 40 {
		m.topics[fmt.Sprint("slow-", i)] = []string{fmt.Sprint("topic-", i)}
	}
	stuck := make(chan struct{})
	m.sendTo = func(ctx context.Context, _ string) error { <-stuck; return nil }
	d := start(t, m)
	var full, lost int
	body := make([]byte, MaxBody)
	for i := range 400 {
		err := d.Publish(t.Context(), Event{Topic: fmt.Sprint("topic-", i%40), Body: body})
		switch {
		case errors.Is(err, ErrFull):
			full++
		case errors.Is(err, ErrLost):
			lost++
		case err != nil:
			t.Fatal(err)
		}
		if used := d.used.Load(); used > MaxMemory {
			t.Fatalf("%d bytes", used)
		}
	}
	if full == 0 {
		t.Errorf("nothing was refused, %d lost", lost)
	}
	c := d.Counts()
	if c.Events[fromApplication]["refused"] != uint64(full+lost) || c.Lost[toService][lossFull] != uint64(lost) {
		t.Errorf("counted: %+v, but %d refused and %d lost", c, full, lost)
	}
	close(stuck)
	listenertest.Eventually(t, "memory is free again", func() bool { return d.used.Load() == 0 })
	if err := d.Publish(t.Context(), Event{Topic: "topic-0", Body: body}); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

func TestPublishingToTenThousandTopicsLeavesNothing(t *testing.T) {
	m := &mesh{}
	d := start(t, m)
	began := time.Now()
	for i := range 10_000 {
		if err := d.Publish(t.Context(), Event{Topic: fmt.Sprint("topic-", i), Body: []byte("x")}); err != nil {
			t.Fatal(err)
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.topics)+len(d.outboxes)+len(d.directory.behind)+len(d.directory.listings) != 0 || d.used.Load() != 0 {
		t.Error("something is left")
	}
	if most := 2 + int(time.Since(began)/fresh); m.asked > most {
		t.Errorf("%d questions to the agent, want %d at most", m.asked, most)
	}
}

func TestSubscribersAreBoundedInNumber(t *testing.T) {
	d := start(t, &mesh{})
	var all []*Subscription
	for i := range MaxSubscribers {
		s, err := d.Subscribe(fmt.Sprint("topic-", i), "q")
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, s)
	}
	if _, err := d.Subscribe("orders", ""); !errors.Is(err, ErrMany) {
		t.Errorf("one too many: %v", err)
	}
	for _, s := range all {
		s.Close()
	}
	d.join("orders", "")
}

func TestSubscribersThatGoWhileEventsComeLeaveNothing(t *testing.T) {
	d := start(t, &mesh{})
	stop := make(chan struct{})
	published := make(chan struct{})
	go func() {
		defer close(published)
		for {
			select {
			case <-stop:
				return
			default:
				_ = d.Publish(context.Background(), Event{Topic: "orders", Body: make([]byte, 10<<10)})
			}
		}
	}()
	for i := range 20 {
		s := d.join("orders", fmt.Sprint(i%3))
		s.next()
		s.leave()
	}
	close(stop)
	<-published
	listenertest.Eventually(t, "their events have gone", func() bool { return d.used.Load() == 0 })
}

func TestWhoSubscribedBeforeTheAgentWentIsStillKnown(t *testing.T) {
	m := &mesh{topics: map[string][]string{"billing": {"orders"}}, broken: errors.New("the agent is down")}
	d := start(t, m)
	if status := d.post("/broker?topic=orders", "x"); status != 503 {
		t.Errorf("nothing known: status %d", status)
	}
	m.mu.Lock()
	m.broken = nil
	m.mu.Unlock()
	d.post("/broker?topic=orders", "x")
	m.mu.Lock()
	m.broken = errors.New("the agent is down")
	m.mu.Unlock()
	d.directory.mu.Lock()
	d.directory.at = time.Now().Add(-time.Hour)
	d.directory.behind["billing"] = representation{[]string{"billing"}, time.Now().Add(-time.Hour)}
	d.directory.mu.Unlock()
	for range 20 {
		if status := d.post("/broker?topic=orders", "x"); status != 200 {
			t.Errorf("status %d", status)
		}
	}
	listenertest.Eventually(t, "all arrive", func() bool { return m.sent("billing") == 21 })
}

func TestAnEventInJSONHasNoHeaderOfAConnection(t *testing.T) {
	m := &mesh{topics: map[string][]string{"billing": {"orders"}}}
	d := start(t, m)
	event := `{"Header":{"Micro-Topic":"orders","connection":"Micro-Topic","Host":"x","transfer-encoding":"chunked","Stamp":"7"},"Body":""}`
	if status := d.post("/?id=orders-1", event, "Content-Type: application/json"); status != 200 {
		t.Fatalf("status %d", status)
	}
	listenertest.Eventually(t, "it gets it", func() bool { return m.sent("billing") == 1 })
	if h := m.got["billing"][0].Header; len(h) != 2 || h["Micro-Topic"] != "orders" || h["Stamp"] != "7" {
		t.Errorf("header %v", h)
	}
}
