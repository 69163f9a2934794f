package queue

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
)

const (
	match    = "/v1/connect/intentions/match?by=destination&name=db&index=7&wait=60000ms"
	judge    = "/v1/agent/connect/authorize"
	health   = "/v1/health/connect/db?stale="
	faraway  = "/v1/health/connect/db?stale=&dc=dc2"
	prepared = "/v1/query/nearest/execute"
)

func TestEachQuestionHasItsLane(t *testing.T) {
	for path, want := range map[string]lane{
		match: held, judge: local, health: server, faraway: remote, prepared: remote,
		"/v1/agent/service/web?hash=abc":                           held,
		"/v1/agent/service/web":                                    local,
		"/v1/agent/connect/ca/leaf/web?index=3&wait=20ms":          local,
		"/v1/agent/connect/ca/roots?index=1&wait=2000ms":           local,
		"/v1/connect/intentions/match?by=destination&name=db":      server,
		"/v1/connect/intentions/match?index=7&wait=not-a-duration": held,
		"/v1/discovery-chain/db?compile-dc=dc2":                    server,
	} {
		r := httptest.NewRequest(http.MethodGet, path, nil)
		if got, _ := laneOf(r); got != want {
			t.Errorf("%s has lane %d, want %d", path, got, want)
		}
	}
}

func TestQuestionsThatHangLeaveRoomForOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var a admission
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		var in [lanes]atomic.Int64
		for l := range lanes {
			if l == local {
				continue
			}
			for range 5 {
				all.Go(func() {
					if a.enter(ctx, l) == nil {
						in[l].Add(1)
						<-ctx.Done()
						a.leave(l, 0)
					}
				})
			}
			synctest.Wait()
			if l == remote {
				continue // with a held one and a server's all three are taken
			}
			if err := a.enter(t.Context(), local); err != nil {
				t.Fatal(err)
			}
			a.leave(local, 0)
		}
		for l := range lanes {
			if n := in[l].Load(); l != local && n != 1 {
				t.Errorf("%d of lane %d are let through", n, l)
			}
		}
		cancel()
		all.Wait()
		for l := range lanes {
			if a.running[l] != 0 || a.waiting[l].Len() != 0 {
				t.Errorf("lane %d: %d running, %d waiting at the end", l, a.running[l], a.waiting[l].Len())
			}
		}
	})
}

func TestAHeldQuestionThatIsGivenUpCountsUntilTheAgentLetsGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var a admission
		for range 2 {
			if err := a.enter(t.Context(), held); err != nil {
				t.Fatal(err)
			}
			a.leave(held, time.Minute)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := a.enter(ctx, held); err == nil {
			t.Error("a third connection was taken for held questions")
		}
		if err := a.enter(t.Context(), local); err != nil {
			t.Fatal(err)
		}
		a.leave(local, 0)
		<-time.After(time.Minute)
		if err := a.enter(t.Context(), held); err != nil {
			t.Fatal(err)
		}
		a.leave(held, 0)
	})
}

// crowd counts the connections that a server has at a time.
type crowd struct{ now, most, all atomic.Int64 }

func (c *crowd) state(_ net.Conn, s http.ConnState) {
	switch s {
	case http.StateNew:
		c.all.Add(1)
		n := c.now.Add(1)
		for most := c.most.Load(); n > most && !c.most.CompareAndSwap(most, n); most = c.most.Load() {
		}
	case http.StateClosed:
		c.now.Add(-1)
	}
}

func serve(t *testing.T, h http.HandlerFunc) (*crowd, *http.Client, string, *strings.Builder) {
	t.Helper()
	c := &crowd{}
	s := httptest.NewUnstartedServer(h)
	s.Config.ConnState = c.state
	s.Start()
	log := &strings.Builder{}
	tr := New(&http.Transport{}, hclog.New(&hclog.LoggerOptions{Output: log, Level: hclog.Info}))
	t.Cleanup(func() { tr.CloseIdleConnections(); s.Close() })
	return c, &http.Client{Transport: tr}, s.URL, log
}

func get(c *http.Client, url string) error {
	resp, err := c.Get(url)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}

func TestAThousandQuestionsAtOnceOpenThreeConnections(t *testing.T) {
	done := make(chan struct{})
	c, client, url, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.RawQuery, "index=") {
			<-done // as long as there is something else
		}
		_, _ = w.Write([]byte("[]"))
	})
	var held, all sync.WaitGroup
	for range 3 {
		held.Go(func() { _ = get(client, url+match) })
	}
	for _, path := range []string{judge, health, faraway, prepared} {
		for range 250 {
			all.Go(func() {
				if err := get(client, url+path); err != nil {
					t.Error(err)
				}
			})
		}
	}
	all.Wait()
	close(done)
	held.Wait()
	if n := c.most.Load(); n > MaxConnections {
		t.Errorf("%d connections at a time", n)
	}
	if n := c.all.Load(); n > 3*MaxConnections {
		t.Errorf("%d connections one after the other: they are not used again", n)
	}
}

func TestAnAgentThatTakesNoMoreIsLeftAloneByAllQuestionsTogether(t *testing.T) {
	var full atomic.Bool
	var asked atomic.Int64
	full.Store(true)
	c, client, url, log := serve(t, func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if full.Load() {
			w.Header().Set("Connection", "close")
			w.WriteHeader(http.StatusTooManyRequests)
			_, _ = w.Write([]byte("Your IP is issuing too many concurrent connections\n"))
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
		t.Errorf("a full agent is asked %d times in 3 s", n)
	}
	if n := c.most.Load(); n > MaxConnections {
		t.Errorf("%d connections at a time", n)
	}
	var u *Unreachable
	if !errors.As(failed, &u) || !strings.Contains(failed.Error(), "429") || !strings.Contains(failed.Error(), "http_max_conns_per_client") {
		t.Fatalf("error %v", failed)
	}
	full.Store(false)
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
