package metrics

import (
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"connect-proxy/listener"
)

// atOnce is what a test waits for what takes no time, on a machine that does much
// else.
const atOnce = 30 * time.Second

// relays opens and ends that many connections, of callers and destinations of busy,
// as the loops of a relay do.
func relays(m *Metrics, connections int) {
	in, out := m.Listener(Inbound, Destination{Service: "web"}), m.Listener(Outbound, Destination{Service: "d7"})
	for i := range connections {
		for k, l := range []*ListenerCounts{in, out} {
			c := Opened{ID: uint64(1_000_000 + 2*i + k), Peer: spiffe("s7"), TLSVersion: 0x304, Handshake: time.Millisecond, Dial: time.Millisecond}
			l.Counters(c).Add(64, 64)
			l.Opened(c)
			l.Closed(Ended{Opened: c, Reason: listener.ReasonClosed, Duration: time.Second})
		}
	}
}

// within fails the test if f has not returned in time.
func within(t *testing.T, limit time.Duration, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	began := time.Now()
	go func() { defer close(done); f() }()
	select {
	case <-done:
		t.Logf("%s: %s", what, time.Since(began).Round(time.Millisecond))
	case <-time.After(limit):
		t.Fatalf("%s: not done after %s", what, limit)
	}
}

// stuck is a scraper that takes nothing before it is let go.
type stuck struct {
	*httptest.ResponseRecorder
	begun sync.Once
	at    chan struct{} // closed once it is offered something
	letGo chan struct{}
}

func (s *stuck) Write(p []byte) (int, error) {
	s.begun.Do(func() { close(s.at) })
	<-s.letGo
	return s.ResponseRecorder.Write(p)
}

func TestAScrapeThatWaitsForAnythingKeepsNoConnectionWaiting(t *testing.T) {
	asked, letGo := make(chan struct{}, 1), make(chan struct{})
	m := New(Options{Facts: func() Facts {
		asked <- struct{}{}
		<-letGo
		return sampleFacts()
	}})
	h := m.Handler(nil)
	scraper := &stuck{ResponseRecorder: httptest.NewRecorder(), at: make(chan struct{}), letGo: make(chan struct{})}
	scraped := make(chan struct{})
	go func() {
		defer close(scraped)
		h.ServeHTTP(scraper, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	}()
	<-asked
	within(t, atOnce, "while the facts are not there", func() { relays(m, 100) })
	close(letGo)
	<-scraper.at
	within(t, atOnce, "while the answer is not read", func() { relays(m, 100) })
	close(scraper.letGo)
	<-scraped
	if scraper.Code != http.StatusOK {
		t.Errorf("the scrape ended with %d", scraper.Code)
	}
}

// Were what counts connections kept from it for as long as a scrape takes, each
// connection would wait for tens of milliseconds, and all of them for minutes.
func TestScrapesWithoutEndOfTenThousandConnectionsKeepNoneWaiting(t *testing.T) {
	m := busy(10_000)
	h := m.Handler(nil)
	stop := make(chan struct{})
	var scrapers sync.WaitGroup
	for range 2 {
		scrapers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					scrape(h)
				}
			}
		})
	}
	defer scrapers.Wait()
	defer close(stop)
	within(t, atOnce, "4,000 connections", func() { relays(m, 2000) })
}
