package load

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"connect-proxy/listener/listenertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// application runs one and gives its address.
func application(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var work sync.WaitGroup
	work.Go(func() {
		if err := Serve(ctx, ln); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { cancel(); work.Wait() })
	return ln.Addr().String()
}

// short is a window, and how often it was marked.
func short(marks *int) Window {
	return Window{Warm: time.Millisecond, For: 300 * time.Millisecond, Mark: func() { *marks++ }}
}

func TestTransfersCountWhatMovedWithinTheWindow(t *testing.T) {
	c := NewClient(application(t), net.IPv4(127, 0, 0, 1))
	for name, up := range map[string]bool{"up": true, "down": false} {
		var marks int
		b, err := c.Transfer(t.Context(), 2, up, short(&marks))
		if err != nil || marks != 2 || b.Bytes < chunk || b.Took < 30*time.Millisecond {
			t.Errorf("%s: %+v, %d marks, %v", name, b, marks, err)
		}
	}
}

func TestVisitsAreCountedAndSoAreTheirFailures(t *testing.T) {
	var marks int
	v, err := NewClient(application(t)).Visit(t.Context(), 3, short(&marks))
	if err != nil || v.Done == 0 || v.Failed != 0 || marks != 2 {
		t.Errorf("%+v, %d marks, %v", v, marks, err)
	}
	if len(v.Times) != int(v.Done) || v.Times[0] <= 0 || !slices.IsSorted(v.Times) {
		t.Errorf("%d times of %d", len(v.Times), v.Done)
	}
	if v, err := NewClient(listenertest.Refusing(t)).Visit(t.Context(), 3, short(&marks)); err == nil || v.Failed == 0 || v.Done != 0 {
		t.Errorf("nobody there: %+v, %v", v, err)
	}
}

func TestAClientWithTLSCountsTheSessionsThatItResumes(t *testing.T) {
	ca := listenertest.NewCA(t)
	server := ca.ServerTLS(ca.Leaf(t, "web"))
	server.ClientAuth = tls.NoClientCert
	ln, err := tls.Listen("tcp", "127.0.0.1:0", server)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var work sync.WaitGroup
	work.Go(func() { _ = Serve(ctx, ln) })
	t.Cleanup(func() { cancel(); work.Wait() })
	full := &tls.Config{InsecureSkipVerify: true}
	resuming := &tls.Config{InsecureSkipVerify: true, ClientSessionCache: tls.NewLRUClientSessionCache(0), ServerName: "web"}
	plain := NewClient(ln.Addr().String())
	for _, tt := range []struct {
		cfg  *tls.Config
		want int64
	}{{full, 0}, {resuming, 2}} {
		c := plain.WithTLS(tt.cfg)
		for range 3 {
			if err := c.Check(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if got := c.Resumed(); got != tt.want {
			t.Errorf("%d of 3 resumed, not %d", got, tt.want)
		}
	}
}

func TestHeldConnectionsAnswerAgainAndAgain(t *testing.T) {
	h := NewClient(application(t)).Hold()
	defer h.Close()
	for _, n := range []int{5, 70} {
		failed, err := h.Grow(t.Context(), n, Ask{Request: 100_000, Answer: 300_001}, time.Minute)
		if failed != 0 || err != nil || h.Len() != n {
			t.Fatalf("%d of %d, %d failed: %v", h.Len(), n, failed, err)
		}
	}
	if failed, err := h.AskEach(t.Context(), Ask{Request: 8, Answer: 1}); failed != 0 || err != nil {
		t.Errorf("%d failed: %v", failed, err)
	}
	var marks int
	r, err := h.Ask(t.Context(), Ask{Request: 64, Answer: 1000}, short(&marks))
	if err != nil || len(r.Times) < 2 || marks != 2 {
		t.Fatalf("%d times, %d marks, %v", len(r.Times), marks, err)
	}
	if first, last := r.Times[0], r.Times[len(r.Times)-1]; first <= 0 || last < first {
		t.Errorf("from %s to %s", first, last)
	}
	h.conns[3].Conn.Close()
	if failed, err := h.AskEach(t.Context(), Ask{Request: 8, Answer: 1}); failed != 1 || err == nil {
		t.Errorf("%d failed: %v", failed, err)
	}
}

func TestOpeningGivesUpWhenTheTimeIsOver(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	ctx, cancel := context.WithCancel(t.Context())
	h := NewClient(ln.Addr().String()).Hold()
	defer h.Close()
	// It accepts, and never answers.
	time.AfterFunc(50*time.Millisecond, cancel)
	if failed, err := h.Grow(ctx, 1000, Ask{Request: 8, Answer: 1}, 20*time.Millisecond); failed != 1000 || err == nil {
		t.Errorf("%d failed: %v", failed, err)
	}
}

func TestARequestSaysItsLengths(t *testing.T) {
	if got := request(64, 300); len(got) != 64 || got[3] != 64 || got[6] != 1 || got[7] != 44 {
		t.Errorf("%v", got)
	}
	if got := request(3, 1); len(got) != headerLen || got[3] != headerLen {
		t.Errorf("too short: %v", got)
	}
}

func TestAGreetingIsAnsweredBeforeTheRequest(t *testing.T) {
	application := application(t)
	for _, g := range []Greeting{SOCKS5("db"), CONNECT("db")} {
		proxy := listenertest.NewServer(t, func(c *net.TCPConn) {
			if _, err := io.ReadFull(c, make([]byte, len(g.ask))); err != nil {
				return
			}
			_, _ = io.WriteString(c, g.begins+strings.Repeat("\x00", g.answer-len(g.begins)))
			to, err := net.Dial("tcp", application)
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(to, c); _ = to.Close() }()
			_, _ = io.Copy(c, to)
		})
		if err := NewClient(proxy.Addr()).Greeting(g).Check(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

func TestCallsAreAnsweredWithWhatTheySend(t *testing.T) {
	var marks int
	v, err := NewClient(application(t)).Calls(t.Context(), "db", short(&marks))
	if err != nil || v.Done == 0 || v.Failed != 0 || marks != 2 || len(v.Times) != int(v.Done) {
		t.Errorf("%+v, %d marks, %v", v, marks, err)
	}
	if _, err := NewClient(listenertest.Refusing(t)).Calls(t.Context(), "db", short(&marks)); err == nil {
		t.Error("calls of nobody have no error")
	}
}
