package metrics

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// busy is a proxy with that many connections, half of them from 150 callers and
// half to 40 destinations, which have 400 instances.
func busy(connections int) *Metrics {
	facts := sampleFacts()
	facts.Upstreams = nil
	for i := range 40 {
		facts.Upstreams = append(facts.Upstreams, UpstreamFacts{
			Destination: Destination{Service: fmt.Sprint("d", i)}, Connected: 10, Failures: map[string]uint64{"refused": 1}, Healthy: 10,
		})
	}
	m := New(Options{Facts: func() Facts { return facts }})
	in := m.Listener(Inbound, Destination{Service: "web"})
	for i := range connections / 2 {
		c := Opened{ID: uint64(2*i + 1), Peer: spiffe(fmt.Sprint("s", i%150)), TLSVersion: 0x304, Handshake: time.Millisecond, Dial: time.Millisecond}
		m.Judged(c.Peer, Allowed, OriginCache)
		in.Opened(c)
		name := fmt.Sprint("d", i%40)
		m.Listener(Outbound, Destination{Service: name}).Opened(Opened{ID: uint64(2*i + 2), Peer: spiffe(name), Dial: time.Millisecond})
	}
	return m
}

func scrape(h http.Handler) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	return w
}

func TestAScrapeCostsTheSameHoweverManyConnectionsThereAre(t *testing.T) {
	few, many := busy(400).Handler(nil), busy(10_000).Handler(nil)
	if w := scrape(many); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), `source="s99"`) {
		t.Fatalf("%d: %.200s", w.Code, w.Body)
	}
	a, b := testing.AllocsPerRun(1, func() { scrape(few) }), testing.AllocsPerRun(1, func() { scrape(many) })
	if b > 1.2*a {
		t.Errorf("%v allocations for ten thousand connections, %v for four hundred", b, a)
	}
}

func TestAScraperThatDoesNotReadIsCutOffAndOthersAreServed(t *testing.T) {
	if testing.Short() {
		t.Skip("it waits for seconds: not with -short")
	}
	m := busy(1000)
	m.writeTimeout = 2 * time.Second
	said := make(chan string, 1000)
	s := httptest.NewServer(m.Handler(func(page, problem string) { said <- page + ": " + problem }))
	defer s.Close()
	var silent []net.Conn
	for range maxScrapes {
		c, err := net.Dial("tcp", s.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_ = c.(*net.TCPConn).SetReadBuffer(1 << 12)
		// As many questions as no buffer between the two can take the answers of.
		_, _ = c.Write([]byte(strings.Repeat("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", 100)))
		silent = append(silent, c)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	deadline := time.Now().Add(30 * time.Second)
	for served := false; !served; { // a 503 while as many as may are under way
		if time.Now().After(deadline) {
			t.Fatal("nobody else is served")
		}
		resp, err := client.Get(s.URL + "/metrics")
		if err != nil {
			continue
		}
		_, err = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		served = err == nil && resp.StatusCode == http.StatusOK
	}
	select {
	case what := <-said:
		if !strings.HasPrefix(what, "/metrics: its client did not take it within 2s") {
			t.Errorf("it is said %q", what)
		}
	case <-time.After(time.Until(deadline)):
		t.Error("it is not said that they do not read")
	}
	// Those that are cut off find it out when they ask for more.
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		for _, c := range silent {
			_ = c.SetWriteDeadline(time.Now().Add(time.Second))
			var timeout net.Error
			if _, err := c.Write([]byte("G")); err != nil && (!errors.As(err, &timeout) || !timeout.Timeout()) {
				return
			}
		}
		if time.Now().After(deadline) {
			t.Fatal("none of them was cut off")
		}
		<-tick.C
	}
}

// from is a handler whose clients have the addresses that they say.
func from(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.RemoteAddr = r.Header.Get("X-From")
		h.ServeHTTP(w, r)
	})
}

func TestSlowScrapersOfManyAddressesKeepNobodyOut(t *testing.T) {
	if testing.Short() {
		t.Skip("it waits for seconds: not with -short")
	}
	if raceDetector {
		t.Skip("the race detector makes an answer take longer than a turn where there is other work")
	}
	m := busy(1000)
	m.writeTimeout = time.Hour
	s := httptest.NewServer(from(m.Handler(nil)))
	defer s.Close()
	for i := range maxScrapes + 2 {
		c, err := net.Dial("tcp", s.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_ = c.(*net.TCPConn).SetReadBuffer(1 << 12)
		_, _ = c.Write([]byte(strings.Repeat(fmt.Sprintf("GET /metrics HTTP/1.1\r\nHost: x\r\nX-From: 192.0.2.%d:1\r\n\r\n", i), 100)))
	}
	answer := func(client string) int {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+"/metrics", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("X-From", client)
		resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			t.Error(err)
		}
		return resp.StatusCode
	}
	for _, client := range []string{"127.0.0.1:1", "192.0.2.99:1"} {
		if code := answer(client); code != http.StatusOK {
			t.Errorf("%s gets %d", client, code)
		}
	}
}

func TestWhoWaitsGetsThePlaceOfWhoHasHadItForLongest(t *testing.T) {
	p := newPlaces(2, 1, 20*time.Millisecond)
	client := func(n byte) netip.Addr { return netip.AddrFrom4([4]byte{192, 0, 2, n}) }
	cut := make(chan byte, 4)
	leave := map[byte]func(){}
	for n := range byte(2) {
		if leave[n] = p.take(t.Context(), client(n), func() { cut <- n }); leave[n] == nil {
			t.Fatalf("no place for %d", n)
		}
	}
	if p.take(t.Context(), client(0), nil) != nil {
		t.Error("a client has more than it may")
	}
	go func() {
		n := <-cut
		leave[n]()
		cut <- n
	}()
	last := p.take(t.Context(), client(2), nil)
	if n := <-cut; last == nil || n != 0 {
		t.Fatalf("the place of %d was taken", n)
	}
	last()
	leave[1]()
	if again := p.take(t.Context(), client(0), nil); again == nil {
		t.Error("a client that has left has no place")
	} else {
		again()
	}
	if len(p.asking) != 0 || len(p.holders) != 0 || len(p.free) != 0 {
		t.Errorf("%v, %v are remembered, %d places taken", p.asking, p.holders, len(p.free))
	}
}

func TestWhoGivesUpWaitingLeavesNothingBehind(t *testing.T) {
	p := newPlaces(1, 0, time.Hour)
	leave := p.take(t.Context(), netip.Addr{}, func() { t.Error("cut off before its turn was over") })
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if p.take(ctx, netip.Addr{}, nil) != nil {
		t.Error("two have one place")
	}
	leave()
	if len(p.asking) != 0 || len(p.holders) != 0 || len(p.free) != 0 {
		t.Errorf("%v, %v are remembered, %d places taken", p.asking, p.holders, len(p.free))
	}
}

func BenchmarkScrapeWithTenThousandConnections(b *testing.B) {
	h := busy(10_000).Handler(nil)
	b.ReportAllocs()
	for b.Loop() {
		scrape(h)
	}
}
