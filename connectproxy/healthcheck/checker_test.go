package healthcheck

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"connect-proxy/listener/listenertest"
)

// log is a buffer for several goroutines.
type log struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

func (l *log) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// app is an application whose health can be chosen.
type app struct {
	*httptest.Server
	status, asked atomic.Int64
}

func newApp(t *testing.T) *app {
	t.Helper()
	a := &app{}
	a.status.Store(200)
	a.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.asked.Add(1)
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(int(a.status.Load()))
	}))
	t.Cleanup(a.Close)
	return a
}

// run runs a Checker until the test ends, and counts what it says has changed.
func run(t *testing.T) (*Checker, *atomic.Int64, *log) {
	t.Helper()
	var changes atomic.Int64
	l := &log{}
	c := New(func() { changes.Add(1) }, hclog.New(&hclog.LoggerOptions{Output: l}))
	c.interval, c.retry = 5*time.Millisecond, 5*time.Millisecond
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = c.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return c, &changes, l
}

// says waits until the Checker says something of the application; nothing is that
// it is healthy.
func says(t *testing.T, c *Checker, what string) {
	t.Helper()
	listenertest.Eventually(t, "it says "+what, func() bool {
		text := ""
		if err := c.Problem(); err != nil {
			text = err.Error()
		}
		return text == what || what != "" && strings.Contains(text, what)
	})
}

func TestAnApplicationIsHealthyWhileItsAnswerSaysSo(t *testing.T) {
	a := newApp(t)
	c, changes, l := run(t)
	says(t, c, "")
	c.Set(a.URL + "/health?token=secret")
	says(t, c, "")
	a.status.Store(503)
	says(t, c, "/health: 503 Service Unavailable")
	a.status.Store(204)
	says(t, c, "")
	a.status.Store(302) // leads elsewhere, where nobody is asked
	says(t, c, "302")
	a.Close()
	says(t, c, "refused")
	if n := changes.Load(); n < 5 {
		t.Errorf("%d changes", n)
	}
	if s := l.String(); strings.Count(s, "not healthy") != 2 || strings.Count(s, "application is healthy") != 2 || strings.Contains(s, "secret") {
		t.Errorf("the log has %s", s)
	}
}

func TestAnApplicationIsNotHealthyBeforeItIsAsked(t *testing.T) {
	c := New(func() {}, nil)
	c.Set("http://127.0.0.1:1/")
	says(t, c, "not checked yet")
	c.Set("")
	says(t, c, "")
}

func TestNobodyIsAskedWhereThereIsNoURL(t *testing.T) {
	a := newApp(t)
	c, changes, _ := run(t)
	c.Set(a.URL)
	says(t, c, "")
	before := changes.Load()
	c.Set("")
	listenertest.Eventually(t, "somebody is told", func() bool { return changes.Load() > before })
	listenertest.Eventually(t, "the question under way is the last", func() bool {
		n := a.asked.Load()
		<-time.After(10 * c.interval)
		return a.asked.Load() == n
	})
}

func TestAnApplicationThatAnswersWithoutEndIsAskedInTime(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	c := New(func() {}, nil)
	c.client.Timeout = 50 * time.Millisecond
	if err := c.probe(t.Context(), "http://"+ln.Addr().String()+"/?secret"); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("who does not answer: %v", err)
	}
	endless := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			if _, err := w.Write(make([]byte, 1<<10)); err != nil {
				return
			}
		}
	}))
	defer endless.Close()
	if err := c.probe(t.Context(), endless.URL); err != nil {
		t.Errorf("an answer without end: %v", err)
	}
	if err := c.probe(t.Context(), "http://"+string(rune(0x7f))+"/?secret"); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("no URL: %v", err)
	}
}
