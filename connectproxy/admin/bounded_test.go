package admin

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"connect-proxy/listener/listenertest"
)

func TestConnectionsAreBoundedAndThoseBeyondWaitTheirTurn(t *testing.T) {
	var under, most atomic.Int32
	release := make(chan struct{})
	page := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		now := under.Add(1)
		defer under.Add(-1)
		for seen := most.Load(); now > seen && !most.CompareAndSwap(seen, now); seen = most.Load() {
		}
		<-release
		w.Header().Set("Connection", "close") // makes room for those that wait
	})
	s := run(t, Options{Name: "admin", Address: "127.0.0.1:0", Pages: Pages{"GET /slow": page}})
	listenertest.Eventually(t, "it listens", func() bool { return s.Addr() != nil })
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	var asking sync.WaitGroup
	var answered atomic.Int32
	for range maxConns + 40 {
		asking.Go(func() {
			resp, err := client.Get("http://" + s.Addr().String() + "/slow")
			if err != nil {
				t.Error(err)
				return
			}
			resp.Body.Close()
			answered.Add(1)
		})
	}
	listenertest.Eventually(t, "it is full", func() bool { return under.Load() == maxConns })
	close(release)
	asking.Wait()
	if most.Load() != maxConns || answered.Load() != maxConns+40 {
		t.Errorf("%d answered, %d at a time; want %d and %d", answered.Load(), most.Load(), maxConns+40, maxConns)
	}
}

// Pages that nobody has bounded, and requests for none, hold their places no longer
// than others.
func TestClientsThatGoSilentKeepNobodyOutForLong(t *testing.T) {
	endless := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for some := make([]byte, 1<<20); ; {
			if _, err := w.Write(some); err != nil {
				return
			}
		}
	})
	page := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	for name, request := range map[string]string{
		"a body that does not come":              "GET /page HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n",
		"a body that does not come, for no page": "POST /none HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n",
		"an answer that is not taken":            "GET /endless HTTP/1.1\r\nHost: localhost\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serverOf(t, "127.0.0.1:0", Pages{"GET /page": page, "GET /endless": endless})
			s.requestTimeout, s.answerTimeout = 200*time.Millisecond, 200*time.Millisecond
			listenertest.Run(t, s.Run)
			listenertest.Eventually(t, "it listens", func() bool { return s.Addr() != nil })
			for range maxConns {
				c, err := net.Dial("tcp", s.Addr().String())
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				if _, err := io.WriteString(c, request); err != nil {
					t.Fatal(err)
				}
			}
			client := &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
			resp, err := client.Get(fmt.Sprintf("http://%s/page", s.Addr()))
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
		})
	}
}

func TestAProfileMayLastLongerThanAnAnswerMayTake(t *testing.T) {
	s := serverOf(t, "127.0.0.1:0", Profiles())
	s.requestTimeout, s.answerTimeout = 300*time.Millisecond, 700*time.Millisecond
	listenertest.Run(t, s.Run)
	listenertest.Eventually(t, "it listens", func() bool { return s.Addr() != nil })
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get(fmt.Sprintf("http://%s/debug/pprof/trace?seconds=1", s.Addr()))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if b, err := io.ReadAll(resp.Body); err != nil || len(b) == 0 || resp.StatusCode != http.StatusOK {
		t.Errorf("status %d, %d bytes, %v", resp.StatusCode, len(b), err)
	}
}
