package listener_test

import (
	"context"
	"io"
	"net"
	"runtime"
	"sync"
	"testing"

	"connect-proxy/listener"
	"connect-proxy/listener/listenertest"
	"connect-proxy/listener/secure"
)

// A kind of client that comes, does what it does and goes.
type visit func(c *net.TCPConn, w world)

var visits = map[string]visit{
	"clean": func(c *net.TCPConn, _ world) {
		_, _ = c.Write([]byte("hello"))
		_ = c.CloseWrite()
		_, _ = io.Copy(io.Discard, c)
	},
	"half-closed at once": func(c *net.TCPConn, _ world) {
		_ = c.CloseWrite()
		_, _ = io.Copy(io.Discard, c)
	},
	"gone with an answer on its way": func(c *net.TCPConn, _ world) { _, _ = c.Write(make([]byte, 4096)) },
	"reset": func(c *net.TCPConn, _ world) {
		_, _ = c.Write([]byte("hello"))
		_ = c.SetLinger(0)
	},
	"silent": func(*net.TCPConn, world) {},
}

var strangeVisits = map[string]visit{
	"silent":       func(*net.TCPConn, world) {},
	"silent reset": func(c *net.TCPConn, _ world) { _ = c.SetLinger(0) },
	"garbage":      func(c *net.TCPConn, _ world) { _, _ = c.Write(make([]byte, 64)) },
	"TLS begun":    func(c *net.TCPConn, _ world) { _, _ = c.Write([]byte{22, 3, 1, 1, 0, 1, 0, 0, 252, 3, 3}) },
}

var knownVisits = map[string]visit{
	"served": func(c *net.TCPConn, w world) { talk(c, w, w.web) },
	"denied": func(c *net.TCPConn, w world) { talk(c, w, w.db) },
}

func talk(c *net.TCPConn, w world, as listenertest.Leaf) {
	tc, err := (&secure.Config{TLS: w.ca.ClientTLS(as)}).Client(context.Background(), c)
	if err != nil {
		return
	}
	_, _ = tc.Write([]byte("hello"))
	_ = tc.CloseWrite()
	_, _ = io.Copy(io.Discard, tc)
}

func TestTenThousandVisitsLeaveNothingBehind(t *testing.T) {
	plainVisits, strangers, known := 1100, 1050, 150 // of each kind
	if raceEnabled || testing.Short() {
		plainVisits, strangers, known = 100, 100, 25
	}
	w, app := newWorld(t), listenertest.NewEcho(t)
	var seen tally
	plain := start(t, listener.Options{Dial: dialTo(app.Addr()), Observer: &seen})
	o := w.public(app.Addr())
	o.Observer = &seen
	o.Authorize = func(_ context.Context, s listener.Session) error {
		if s.Peer == w.db.URI {
			return &listener.Denied{}
		}
		return nil
	}
	public := start(t, o)

	round := func(plainVisits, strangers, known int) {
		seen.expect(len(visits)*plainVisits + len(strangeVisits)*strangers + len(knownVisits)*known)
		visitAll(t, plain, w, visits, plainVisits)
		visitAll(t, public, w, strangeVisits, strangers)
		visitAll(t, public, w, knownVisits, known)
		listenertest.Eventually(t, "every visit has ended", func() bool {
			return seen.done() && plain.Live() == 0 && public.Live() == 0
		})
	}
	round(10, 10, 10) // fills pools and starts workers
	// All but those that wait for the next connection.
	busy := func(u usage) int { return u.goroutines - plain.Idle() - public.Idle() }
	before := footprint()
	atFirst := busy(before)
	round(plainVisits, strangers, known)
	listenertest.Eventually(t, "goroutines and descriptors are as before", func() bool {
		after := footprint()
		return busy(after) <= atFirst && after.descriptors <= before.descriptors
	})
	if grown := int64(footprint().heap) - int64(before.heap); grown > 2<<20 {
		t.Errorf("the heap has grown by %d bytes", grown)
	}
}

// visitAll makes n visits of each kind, some at a time.
func visitAll(t *testing.T, l *running, w world, kinds map[string]visit, n int) {
	var all sync.WaitGroup
	for name, visit := range kinds {
		all.Go(func() {
			for range n {
				c, err := net.Dial("tcp", l.Addr().String())
				if err != nil {
					t.Errorf("%s: %v", name, err)
					return
				}
				visit(c.(*net.TCPConn), w)
				_ = c.Close()
			}
		})
	}
	all.Wait()
}

type usage struct {
	goroutines, descriptors int
	heap, stack             uint64
}

func footprint() usage {
	runtime.GC()
	runtime.GC() // pools keep their things over one
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return usage{runtime.NumGoroutine(), len(listenertest.Descriptors()), m.HeapAlloc, m.StackInuse}
}

// tally counts what has ended and keeps nothing.
type tally struct {
	mu           sync.Mutex
	closed, want int
}

func (*tally) ConnOpened(listener.Open) {}

func (n *tally) ConnClosed(listener.Summary) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.closed++
}

func (n *tally) count() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.closed
}

func (n *tally) expect(more int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.want += more
}

func (n *tally) done() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.closed == n.want
}
