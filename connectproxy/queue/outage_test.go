package queue

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
)

func TestAnAgentThatTakesNoMoreIsLeftAloneByAllQuestionsTogether(t *testing.T) {
	for name, c := range map[string]struct {
		refuse http.HandlerFunc
		says   []string // of which the error has one
	}{
		"is full": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Connection", "close")
			w.WriteHeader(http.StatusTooManyRequests)
			_, _ = w.Write([]byte("Your IP is issuing too many concurrent connections\n"))
		}, []string{"429: Your IP is issuing too many concurrent connections): if this lasts, raise its limits.http_max_conns_per_client"}},
		"resets connections": {reset, []string{"connection reset by peer", "EOF", "forcibly closed"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			leavesAlone(t, c.refuse, c.says)
		})
	}
}

// reset is an agent that breaks a connection off.
func reset(w http.ResponseWriter, _ *http.Request) {
	c, _, err := w.(http.Hijacker).Hijack()
	if err == nil {
		_ = c.(*net.TCPConn).SetLinger(0)
		c.Close()
	}
}

// Whoever asks seldom learns so that the agent was away in between.
func TestTheEndOfAHeldQuestionIsAnOutageThoughTheAgentIsBackAtOnce(t *testing.T) {
	arrived, over := make(chan struct{}), make(chan struct{})
	_, client, url, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Has("index") {
			close(arrived)
			<-over
			reset(w, r)
		}
	})
	failed := make(chan error, 1)
	go func() { failed <- get(client, url+match) }()
	<-arrived
	turns := client.Transport.(*Transport)
	if n := turns.Outages(); n != 0 {
		t.Errorf("%d outages before it", n)
	}
	close(over)
	if err := <-failed; err == nil {
		t.Error("the question has an answer")
	}
	for get(client, url+judge) != nil {
		<-time.After(10 * time.Millisecond)
	}
	if n := turns.Outages(); n != 1 {
		t.Errorf("%d outages", n)
	}
}

func leavesAlone(t *testing.T, refuse http.HandlerFunc, says []string) {
	var refusing atomic.Bool
	var asked atomic.Int64
	refusing.Store(true)
	c, client, url, log := serve(t, func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if refusing.Load() {
			refuse(w, r)
		}
	})
	began := time.Now()
	var failed error
	for time.Since(began) < 3*time.Second {
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() { _ = get(client, url+health) })
		}
		all.Wait()
		failed = get(client, url+judge)
		<-time.After(10 * time.Millisecond)
	}
	// After 0.25, 0.5, 1 and 2 s at most, less what is left to chance.
	if n := asked.Load(); n < 3 || n > 16 {
		t.Errorf("it is asked %d times in 3 s", n)
	}
	if n := c.most.Load(); n > MaxConnections {
		t.Errorf("%d connections at a time", n)
	}
	var u *Unreachable
	if !errors.As(failed, &u) || !slices.ContainsFunc(says, func(text string) bool { return strings.Contains(failed.Error(), text) }) {
		t.Fatalf("error %v", failed)
	}
	refusing.Store(false)
	for get(client, url+judge) != nil {
		if time.Since(began) > 3*time.Second+2*MaxBackoff {
			t.Fatal("not asked again")
		}
		<-time.After(10 * time.Millisecond)
	}
	select {
	case <-u.Recovered():
	default:
		t.Error("those who wait for the end of the outage are not told")
	}
	if n := strings.Count(log.String(), "[WARN]"); n != 1 || !strings.Contains(log.String(), "agent answers again") {
		t.Errorf("%d warnings:\n%s", n, log)
	}
}

func TestAnOutageIsWarnedOfOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &strings.Builder{}
		o := outage{logger: hclog.New(&hclog.LoggerOptions{Output: log})}
		began, asked := time.Now(), 0
		outlast := func(until time.Duration, want int) {
			t.Helper()
			for ; time.Since(began) < until; <-time.After(100 * time.Millisecond) {
				if trying, err := o.admit(time.Now()); err == nil {
					asked++
					_ = o.failed(errors.New("refused"), trying, time.Now())
				}
			}
			if n := strings.Count(log.String(), "agent does not answer"); n != want {
				t.Errorf("%s after the outage began there are %d warnings, want %d:\n%s", time.Since(began), n, want, log)
			}
		}
		outlast(time.Second, 1)
		outlast(complainEvery, 1)
		outlast(complainEvery+MaxBackoff+time.Second, 2)
		outlast(2*complainEvery, 2)
		outlast(2*(complainEvery+MaxBackoff)+time.Second, 3)
		if asked < 20 {
			t.Errorf("only %d questions failed", asked)
		}
	})
}

// An agent without a free descriptor takes no connection from its kernel, which
// makes them all the same.
func TestAnAgentThatAcceptsNothingHasThreeConnectionsToAcceptAtATime(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var now, most atomic.Int64
	tr := New(&http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		if n := now.Add(1); n > most.Load() {
			most.Store(n) // one too low at worst, if two come together
		}
		return &counted{Conn: c, gone: sync.OnceFunc(func() { now.Add(-1) })}, nil
	}}, nil)
	t.Cleanup(tr.CloseIdleConnections)
	client, url := &http.Client{Transport: tr}, "http://"+ln.Addr().String()
	const during, each = 1500 * time.Millisecond, 100 * time.Millisecond
	began := time.Now()
	for time.Since(began) < during {
		var questions sync.WaitGroup
		for i := range 30 {
			questions.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), each)
				defer cancel()
				r, err := http.NewRequestWithContext(ctx, http.MethodGet, url+[]string{judge, health, faraway}[i%3], nil)
				if err != nil {
					t.Error(err)
					return
				}
				if resp, err := client.Do(r); err == nil {
					resp.Body.Close()
					t.Error("somebody answers")
				}
			})
		}
		questions.Wait()
	}
	if n := most.Load(); n < 1 || n > MaxConnections {
		t.Errorf("%d connections at a time", n)
	}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	s.Listener.Close()
	s.Listener = ln
	s.Start()
	t.Cleanup(s.Close)
	if err := get(client, url+judge); err != nil {
		t.Errorf("when it accepts again: %v", err)
	}
}

// counted tells when it is closed.
type counted struct {
	net.Conn
	gone func()
}

func (c *counted) Close() error {
	defer c.gone()
	return c.Conn.Close()
}
