package relay

import (
	"bytes"
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"

	"connect-proxy/listener/listenertest"
)

// moveOften has e's loops hand every connection over after each of its turns.
func moveOften(e *Engine) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.loops.pick(e) == nil {
		panic("there are no loops")
	}
	for _, l := range e.loops.all {
		l.mu.Lock() // no connection is there yet to be judged
		l.limit, l.other.limit = 0, 1<<62
		l.mu.Unlock()
	}
}

// move has the other loop take c over.
func (h *byHand) move(c *conn) {
	h.Helper()
	l := c.loop.Load()
	for c.queued {
		h.round(l)
	}
	l.handOver(c)
	h.round(l.other)
}

func TestABusyConnectionIsAQuickOneAgainOnceItMovesLittle(t *testing.T) {
	h := newByHand(t)
	client, far, c := h.plain()
	exchange := func(n int) {
		t.Helper()
		done := make(chan error, 1)
		go func() {
			_, err := io.ReadFull(far, make([]byte, n))
			done <- err
		}()
		written := make(chan error, 1)
		go func() {
			_, err := client.Write(make([]byte, n))
			written <- err
		}()
		for {
			select {
			case err := <-done:
				must(t, err)
				must(t, <-written)
				return
			default:
				h.round(h.quick)
				h.round(h.busy)
			}
		}
	}
	for range 2 {
		exchange(8 << 20)
		if c.loop.Load() != h.busy {
			t.Fatalf("after 8 MiB it counts as quick, with a load of %d", c.load)
		}
		for range 50 {
			exchange(64)
		}
		if c.loop.Load() != h.quick {
			t.Fatalf("after 50 small messages it counts as busy, with a load of %d", c.load)
		}
	}
}

func TestWhatAConnectionHoldsMovesWithIt(t *testing.T) {
	h := newByHand(t)
	h.quick.limit, h.busy.limit = 1<<62, 0 // moves only when it is told to
	peer, ours := detachedLeg(t)
	near, far := listenertest.TCPPair(t)
	c := h.add(ours, near)
	c.options.IdleTimeout = time.Hour
	h.quick.now = time.Now()
	c.moved = h.quick.now
	h.quick.startTimer(c)

	// More than the receiver takes, and the beginning of a record behind it.
	content := random(8 << 20)
	sealed := peer.Records.CloseNotify(peer.Records.Seal(nil, bytes.Clone(content)))
	go func() { _, _ = peer.Raw.Write(sealed) }()
	for h.await(c, 1); len(c.flows[0].pending) == 0 || len(c.sides[0].partial) == 0; h.move(c) {
		if c.flows[0].count == int64(len(content)) {
			t.Fatal("all of it was taken")
		}
	}
	for range 4 {
		l := c.loop.Load()
		h.move(c)
		if c.loop.Load() != l.other || len(l.timers)+len(l.unacked) > 0 || len(l.other.timers)+len(l.other.unacked) != 2 {
			t.Fatalf("%d and %d are timed and looked at, in the other loop %d and %d",
				len(l.timers), len(l.unacked), len(l.other.timers), len(l.other.unacked))
		}
	}
	got := make(chan []byte, 1)
	go func() {
		all, _ := io.ReadAll(far)
		got <- all
	}()
	for n := 0; !c.flows[0].endDelivered; n++ {
		if n == 1_000_000 {
			t.Fatal("the rest does not come")
		}
		h.round(h.quick)
		h.round(h.busy)
	}
	if !bytes.Equal(<-got, content) {
		t.Error("other bytes came than were sent")
	}
}

func TestAConnectionIsClosedWhereverItIs(t *testing.T) {
	h := newByHand(t)
	client, far, c := h.plain()
	h.quick.stop(c) // is not looked at before
	h.quick.limit = 0
	_, err := client.Write([]byte("x"))
	must(t, err)
	h.await(c, 1)
	h.quick.mu.Lock()
	asked := h.quick.stopping
	h.quick.stopping = nil
	h.quick.mu.Unlock()
	h.round(h.quick)
	if c.loop.Load() != h.busy {
		t.Fatal("it did not move")
	}
	h.quick.mu.Lock()
	h.quick.stopping = asked
	h.quick.mu.Unlock()
	h.round(h.quick)
	h.round(h.busy)
	if !c.ended || c.result.End != Closed {
		t.Errorf("it goes on: %+v", c.result)
	}
	_, _ = io.ReadAll(far)
}

func TestAConnectionThatTheOtherLoopTakesNoMoreIsClosed(t *testing.T) {
	h := newByHand(t)
	client, _, c := h.plain()
	h.quick.limit = 0
	h.busy.quit()
	_, err := client.Write([]byte("x"))
	must(t, err)
	h.await(c, 1)
	h.round(h.quick)
	if !c.ended || c.result.End != Closed || c.result.ToUpstream != 1 {
		t.Errorf("%+v", c.result)
	}
	must(t, client.SetReadDeadline(time.Now().Add(30*time.Second)))
	if _, err := client.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("its client reads %v, want a reset", err)
	}
}

func TestAnEngineClosesConnectionsThatMoveBetweenItsLoops(t *testing.T) {
	e := New()
	moveOften(e)
	var work sync.WaitGroup
	var relays []*Relay
	ended := make(chan Result, 100)
	moved := new(Counters)
	for range cap(ended) {
		client, in := listenertest.TCPPair(t)
		out, far := listenertest.TCPPair(t)
		r := e.Start(in, out, Options{Counters: moved}, func(r Result) { ended <- r })
		relays = append(relays, r)
		for _, c := range []net.Conn{client, far} {
			work.Go(func() {
				for p := make([]byte, 100); ; {
					if _, err := c.Write(p); err != nil {
						return
					}
					if _, err := io.ReadFull(c, p); err != nil {
						return
					}
				}
			})
		}
	}
	listenertest.Eventually(t, "a megabyte has moved", func() bool { return moved.ToClient() > 1<<20 })
	for _, r := range relays[:len(relays)/2] {
		r.Close()
	}
	e.Close()
	if len(ended) != cap(ended) {
		t.Errorf("%d of %d callbacks have come", len(ended), cap(ended))
	}
	work.Wait()
}
