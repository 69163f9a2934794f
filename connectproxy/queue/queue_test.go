package queue

import (
	"context"
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
					if a.acquire(ctx, l) == nil {
						in[l].Add(1)
						<-ctx.Done()
						a.release(l, 0)
					}
				})
			}
			synctest.Wait()
			if l == remote {
				continue // with a held one and a server's all three are taken
			}
			if err := a.acquire(t.Context(), local); err != nil {
				t.Fatal(err)
			}
			a.release(local, 0)
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

func TestQuestionsThatComeTogetherHaveOneConnectionInTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var a admission
		var under, most, answered atomic.Int64
		var all sync.WaitGroup
		for n := range 40 {
			all.Go(func() {
				l := []lane{local, server, remote}[n%3]
				if err := a.acquire(t.Context(), l); err != nil {
					t.Error(err)
					return
				}
				most.Store(max(most.Load(), under.Add(1)))
				<-time.After(patience / 2)
				under.Add(-1)
				a.release(l, 0)
				answered.Add(1)
			})
		}
		all.Wait()
		if most.Load() != 1 || answered.Load() != 40 {
			t.Errorf("%d at a time, %d answered", most.Load(), answered.Load())
		}
	})
}

func TestAQuestionThatIsSlowKeepsTheNextOneForAMomentOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var a admission
		if err := a.acquire(t.Context(), server); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		for n := range 10 {
			if err := a.acquire(t.Context(), local); err != nil {
				t.Fatal(err)
			}
			a.release(local, 0)
			if took := time.Since(began); took != patience {
				t.Errorf("question %d was kept for %s", n+1, took)
			}
		}
		a.release(server, 0)
	})
}

func TestAHeldQuestionThatIsGivenUpCountsUntilTheAgentLetsGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var a admission
		for range 2 {
			if err := a.acquire(t.Context(), held); err != nil {
				t.Fatal(err)
			}
			a.release(held, time.Minute)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := a.acquire(ctx, held); err == nil {
			t.Error("a third connection was taken for held questions")
		}
		if err := a.acquire(t.Context(), local); err != nil {
			t.Fatal(err)
		}
		a.release(local, 0)
		<-time.After(time.Minute)
		if err := a.acquire(t.Context(), held); err != nil {
			t.Fatal(err)
		}
		a.release(held, 0)
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
	case http.StateClosed, http.StateHijacked:
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

// The first question to reach an agent that is back may be the one that it holds
// until something changes, for a minute.
func TestAQuestionThatTheAgentHoldsKeepsNoOtherFromFindingItBack(t *testing.T) {
	var full atomic.Bool
	full.Store(true)
	holding := make(chan struct{})
	_, client, url, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case full.Load():
			w.WriteHeader(http.StatusTooManyRequests)
		case r.URL.Query().Get("index") != "":
			close(holding)
			<-r.Context().Done()
		}
	})
	if get(client, url+judge) == nil {
		t.Fatal("a full agent answers")
	}
	full.Store(false)
	ctx, cancel := context.WithCancel(t.Context())
	var held sync.WaitGroup
	defer held.Wait()
	defer cancel()
	held.Go(func() {
		for ctx.Err() == nil {
			r, _ := http.NewRequestWithContext(ctx, http.MethodGet, url+match, nil)
			if resp, err := client.Do(r); err == nil {
				resp.Body.Close()
			}
			<-time.After(time.Millisecond)
		}
	})
	<-holding
	for began := time.Now(); get(client, url+judge) != nil; <-time.After(10 * time.Millisecond) {
		if time.Since(began) > 2*MaxBackoff {
			t.Fatal("nobody else may ask an agent that answers")
		}
	}
}
