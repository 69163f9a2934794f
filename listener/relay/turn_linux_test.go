package relay

import (
	"io"
	"net"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"connect-proxy/listener/listenertest"
	"connect-proxy/listener/secure"
)

// byHand is a pair of loops whose rounds the test runs itself.
type byHand struct {
	*testing.T
	quick, busy *eventLoop
	kernel      []unix.EpollEvent
}

func newByHand(t *testing.T) *byHand {
	t.Helper()
	quick, err := newLoops()
	must(t, err)
	h := &byHand{t, quick, quick.other, make([]unix.EpollEvent, 256)}
	t.Cleanup(func() {
		for _, l := range []*eventLoop{h.quick, h.busy} {
			l.closeAll()
			l.callBack()
		}
	})
	return h
}

// round runs one of l, which does not wait if there is nothing to do.
func (h *byHand) round(l *eventLoop) {
	l.mu.Lock()
	l.wakeUp()
	l.mu.Unlock()
	l.round(h.kernel, nil, false)
}

// add puts a connection between two sockets into the loop.
func (h *byHand) add(client, upstream net.Conn) *conn {
	h.Helper()
	c := &conn{done: func(Result) {}, slot: -1}
	if !adoptBoth(c, client, upstream) {
		h.Fatal("the loop takes no such connection")
	}
	c.loop.Store(h.quick)
	h.quick.begin(c)
	return c
}

// plain adds a connection and gives its two outer ends.
func (h *byHand) plain() (client, far *net.TCPConn, _ *conn) {
	h.Helper()
	client, in := listenertest.TCPPair(h)
	out, far := listenertest.TCPPair(h)
	return client, far, h.add(in, out)
}

// directions are what a flow is to the client, by the side that it comes from.
var directions = [...]string{"upload", "download"}

// inBothDirections runs a test of the order of service for flows from either side.
func inBothDirections(t *testing.T, test func(t *testing.T, from int)) {
	for from, name := range directions {
		t.Run(name, func(t *testing.T) { test(t, from) })
	}
}

// plainFrom is plain with the ends in the order in which its bytes pass them.
func (h *byHand) plainFrom(from int) (sender, receiver *net.TCPConn, c *conn) {
	h.Helper()
	client, far, c := h.plain()
	if from == 1 {
		return far, client, c
	}
	return client, far, c
}

// pour adds a connection of which that side sends, and the other takes, all the
// time, and runs rounds until the busy loop has it.
func (h *byHand) pour(from int) *conn {
	h.Helper()
	sender, receiver, c := h.plainFrom(from)
	go func() {
		for p := make([]byte, 256<<10); ; {
			if _, err := sender.Write(p); err != nil {
				return
			}
		}
	}()
	go func() {
		_, _ = io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{receiver}, make([]byte, 256<<10))
	}()
	for n := 0; c.loop.Load() != h.busy; n++ {
		if n == 1000 {
			h.Fatalf("after 1000 turns its load is %d", c.load)
		}
		h.awaitFrom(c, from, minBatch)
		h.round(h.quick)
	}
	return c
}

// await returns when so much has come from the client of c.
func (h *byHand) await(c *conn, n int) {
	h.Helper()
	h.awaitFrom(c, 0, n)
}

// awaitFrom returns when so much has come from a side of c.
func (h *byHand) awaitFrom(c *conn, side, n int) {
	h.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); runtime.Gosched() {
		if have, err := unix.IoctlGetInt(c.sides[side].fd, unix.SIOCINQ); err != nil || have >= n {
			must(h.T, err)
			return
		}
	}
	h.Fatalf("%d bytes do not come", n)
}

// served runs a round of l, before which all of c have something to move from
// that side, and says which of them it has moved, and how much of that at most.
func (h *byHand) served(l *eventLoop, all []*conn, from int) (who []*conn, most int64) {
	h.Helper()
	before := make([]int64, len(all))
	for i, c := range all {
		h.awaitFrom(c, from, 1)
		before[i] = c.flows[from].count
	}
	h.round(l)
	for i, c := range all {
		if n := c.flows[from].count - before[i]; n > 0 {
			who, most = append(who, c), max(most, n)
		}
	}
	return who, most
}

func TestAConnectionThatMovesLittleNeverWaitsForOneThatMovesMuch(t *testing.T) {
	inBothDirections(t, func(t *testing.T, from int) {
		h := newByHand(t)
		busy := []*conn{h.pour(from), h.pour(from), h.pour(from)}
		client, far, quick := h.plain()
		for n := int64(1); n <= 50; n++ {
			for side, sender := range []net.Conn{client, far} { // a query and its answer
				_, err := sender.Write(make([]byte, 64))
				must(t, err)
				h.awaitFrom(quick, side, 64)
				if who, _ := h.served(h.quick, busy, from); len(who) > 0 {
					t.Fatalf("%d busy ones were served before it", len(who))
				}
				if quick.flows[side].count != 64*n {
					t.Fatalf("in round %d its %s had to wait", n, directions[side])
				}
			}
		}
		if quick.loop.Load() != h.quick {
			t.Error("it counts as busy")
		}
	})
}

func TestBusyConnectionsTakeTurns(t *testing.T) {
	inBothDirections(t, func(t *testing.T, from int) {
		h := newByHand(t)
		busy := []*conn{h.pour(from), h.pour(from), h.pour(from), h.pour(from)}
		var order []*conn
		for range 40 {
			who, most := h.served(h.busy, busy, from)
			if len(who) > 1 || most > busyTurn {
				t.Fatalf("%d were served in one round, for %d bytes", len(who), most)
			}
			order = append(order, who...)
		}
		if len(order) < 30 {
			t.Fatalf("only %d of 40 rounds have moved anything", len(order))
		}
		for i := range order[len(busy):] {
			if order[i] != order[i+len(busy)] {
				t.Fatalf("turn %d and that %d later are not of the same connection", i, len(busy))
			}
		}
	})
}

func TestOneThatHasMuchToMoveForOnceGetsItsTurnsHoweverManyOthersAsk(t *testing.T) {
	inBothDirections(t, func(t *testing.T, from int) {
		h := newByHand(t)
		h.quick.limit = 1 << 62 // nobody knows yet that it is a busy one
		const many, content = 100, 10 * quickTurn
		var clients []net.Conn
		var quick []*conn
		for range many {
			client, _, c := h.plain()
			clients, quick = append(clients, client), append(quick, c)
		}
		sender, receiver, c := h.plainFrom(from)
		go func() { _, _ = io.Copy(io.Discard, receiver) }()
		go func() { _, _ = sender.Write(make([]byte, content)) }()
		for n := int64(1); c.flows[from].count < content; n++ {
			for i, client := range clients {
				_, err := client.Write(make([]byte, 64))
				must(t, err)
				h.await(quick[i], 64)
			}
			h.awaitFrom(c, from, 1)
			before := c.flows[from].count
			h.round(h.quick)
			if n := c.flows[from].count - before; n == 0 || n > 4*quickTurn {
				t.Fatalf("in a round it had %d bytes", n)
			}
			for _, c := range quick {
				if c.flows[0].count != 64*n {
					t.Fatalf("in round %d another one was left out", n)
				}
			}
		}
	})
}

func TestABusyLoopLooksUpOnlyWhileTheQuickOneHasSomethingToDo(t *testing.T) {
	h := newByHand(t)
	attentive := func() (n int) {
		for h.busy.attentive() {
			n++
		}
		return n
	}
	h.round(h.quick)
	if n := attentive(); n != attentionTurns-1 {
		t.Errorf("for %d turns", n)
	}
	if n := attentive(); n != 0 {
		t.Errorf("again for %d turns", n)
	}
	h.round(h.quick)
	if n := attentive(); n != attentionTurns-1 {
		t.Errorf("after the next round for %d turns", n)
	}
	if h.quick.attentive() {
		t.Error("the quick one makes way for the busy one")
	}
}

// detachedLeg is a TLS connection with bare records on the far end.
func detachedLeg(t *testing.T) (peer secure.Detached, ours net.Conn) {
	t.Helper()
	server, client := configs(t, 0)
	a, b := listenertest.TCPPair(t)
	type accepted struct {
		conn *secure.Conn
		err  error
	}
	shaken := make(chan accepted, 1)
	go func() {
		conn, err := own(server).Server(t.Context(), b)
		shaken <- accepted{conn, err}
	}()
	app, err := own(client).Client(t.Context(), a)
	must(t, err)
	peer, ok := app.Detach()
	if !ok {
		t.Fatal("the far end could not be detached")
	}
	_, err = peer.Raw.Write(peer.Unsent)
	must(t, err)
	peer.Unsent = nil
	end := <-shaken
	must(t, end.err)
	return peer, end.conn
}
