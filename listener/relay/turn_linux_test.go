package relay

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"connect-proxy/listener/secure"
)

// byHand is a loop whose rounds the test runs itself.
type byHand struct {
	*testing.T
	loop   *loop
	kernel []unix.EpollEvent
}

func newByHand(t *testing.T) *byHand {
	t.Helper()
	l, err := newLoop()
	must(t, err)
	t.Cleanup(func() { l.closeAll(); l.tell() })
	return &byHand{T: t, loop: l, kernel: make([]unix.EpollEvent, 256)}
}

// round runs one, which does not wait if there is nothing to do.
func (h *byHand) round() {
	h.loop.mu.Lock()
	h.loop.poke()
	h.loop.mu.Unlock()
	h.loop.round(h.kernel, nil, false)
}

// add puts a connection between two sockets into the loop.
func (h *byHand) add(client, upstream net.Conn) *conn {
	h.Helper()
	c := &conn{loop: h.loop, done: func(Result) {}}
	if !take(c, client, upstream) {
		h.Fatal("the loop takes no such connection")
	}
	c.prime()
	if !h.loop.add(c) {
		h.Fatal("the loop takes no more")
	}
	return c
}

// plain adds a connection and gives its two outer ends.
func (h *byHand) plain() (client, far *net.TCPConn, _ *conn) {
	h.Helper()
	client, in := tcpPair(h)
	out, far := tcpPair(h)
	return client, far, h.add(in, out)
}

// pour adds a connection whose client sends, and whose application takes, all
// the time, and runs rounds until it counts as busy.
func (h *byHand) pour() *conn {
	h.Helper()
	client, far, c := h.plain()
	go func() {
		for p := make([]byte, 256<<10); ; {
			if _, err := client.Write(p); err != nil {
				return
			}
		}
	}()
	go func() {
		_, _ = io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{far}, make([]byte, 256<<10))
	}()
	for n := 0; !c.busy(); n++ {
		if n == 1000 {
			h.Fatalf("after 1000 turns its load is %d", c.load)
		}
		h.await(c, minBatch)
		h.round()
	}
	return c
}

// await returns when so much has come from the client of c.
func (h *byHand) await(c *conn, n int) {
	h.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); runtime.Gosched() {
		if have, err := unix.IoctlGetInt(c.sides[0].fd, unix.SIOCINQ); err != nil || have >= n {
			must(h.T, err)
			return
		}
	}
	h.Fatalf("%d bytes do not come", n)
}

// served runs a round, in which all of c have something to move, and says which
// of them it has moved, and how much of that at most.
func (h *byHand) served(all []*conn) (who []*conn, most int64) {
	h.Helper()
	before := make([]int64, len(all))
	for i, c := range all {
		h.await(c, 1)
		before[i] = c.flows[0].count
	}
	h.round()
	for i, c := range all {
		if n := c.flows[0].count - before[i]; n > 0 {
			who, most = append(who, c), max(most, n)
		}
	}
	return who, most
}

func TestAConnectionThatMovesLittleIsServedBeforeAllThatMoveMuch(t *testing.T) {
	h := newByHand(t)
	busy := []*conn{h.pour(), h.pour(), h.pour()}
	client, _, quick := h.plain()
	for n := int64(1); n <= 50; n++ {
		_, err := client.Write(make([]byte, 64))
		must(t, err)
		h.await(quick, 64)
		who, most := h.served(busy)
		if quick.flows[0].count != 64*n {
			t.Fatalf("in round %d it had to wait", n)
		}
		if len(who) > 1 || most > shortTurn {
			t.Fatalf("%d busy ones were served as well, for %d bytes, before the next look", len(who), most)
		}
	}
	if quick.busy() {
		t.Error("it counts as busy")
	}
}

func TestBusyConnectionsTakeTurns(t *testing.T) {
	h := newByHand(t)
	busy := []*conn{h.pour(), h.pour(), h.pour(), h.pour()}
	var order []*conn
	for range 40 {
		who, most := h.served(busy)
		if len(who) > 1 || most > fullTurn {
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
}

func TestABusyConnectionGetsItsTurnHoweverManyOthersAsk(t *testing.T) {
	h := newByHand(t)
	busy := []*conn{h.pour()}
	const many = 100
	var clients []net.Conn
	var quick []*conn
	for range many {
		client, _, c := h.plain()
		clients, quick = append(clients, client), append(quick, c)
	}
	var moved int64
	const rounds = 20
	for n := int64(1); n <= rounds; n++ {
		for i, client := range clients {
			_, err := client.Write(make([]byte, 64))
			must(t, err)
			h.await(quick[i], 64)
		}
		_, most := h.served(busy)
		if most == 0 {
			t.Fatalf("in round %d it was left out", n)
		}
		moved += most
		for _, c := range quick {
			if c.flows[0].count != 64*n {
				t.Fatalf("in round %d another one was left out", n)
			}
		}
	}
	t.Logf("%d bytes in a turn, beside %d that ask", moved/rounds, many)
}

func TestTheLineIsServedUntilItHasCostWhatQuickConnectionsDid(t *testing.T) {
	h := newByHand(t)
	busy := []*conn{h.pour(), h.pour(), h.pour(), h.pour()}
	for quick, want := range map[int]int{0: 1, 4 * fullTurn: len(busy)} {
		for _, c := range busy {
			h.await(c, minBatch)
			c.sides[0].readable = true
			h.loop.again(c)
		}
		before := h.loop.sinceQuick
		h.loop.sinceQuick = 0
		h.loop.serveReady(quick)
		if got := h.loop.sinceQuick; quick == 0 && got != want || got < want {
			t.Errorf("after %d: %d turns, want %d", quick, got, want)
		}
		h.loop.sinceQuick = before
	}
}

// floods are what a peer can send that costs more than its bytes, as records
// around one byte of content.
var floods = map[string]func(r *secure.Records, p, content []byte) []byte{
	"key updates": func(r *secure.Records, p, content []byte) []byte { return r.Seal(r.Update(p, false), content) },
	"key updates with answers": func(r *secure.Records, p, content []byte) []byte {
		return r.Seal(r.Update(p, true), content)
	},
	"alerts": func(r *secure.Records, p, content []byte) []byte {
		const userCanceled = 90
		return r.Seal(r.Alert(p, tls.AlertError(userCanceled)), content)
	},
	"tiny records": (*secure.Records).Seal,
}

func TestAFloodOfRecordsEndsATurnByWhatItCosts(t *testing.T) {
	for name, next := range floods {
		t.Run(name, func(t *testing.T) {
			h := newByHand(t)
			peer, ours := detachedLeg(t)
			near, far := tcpPair(t)
			c := h.add(ours, near)
			client, _, quick := h.plain()
			var sent, sealed []byte
			for i := range 6000 {
				content := []byte{byte(i), 0}[:1]
				sent = append(sent, content...)
				sealed = next(peer.Records, sealed, content)
			}
			written := make(chan error, 1)
			go func() {
				_, err := peer.Raw.Write(sealed)
				written <- err
			}()
			got := make(chan []byte, 1)
			go func() {
				all := make([]byte, len(sent))
				_, _ = io.ReadFull(far, all)
				got <- all
			}()
			h.await(c, minBatch)
			_, err := client.Write(make([]byte, 64))
			must(t, err)
			h.await(quick, 64)
			rounds := int64(0)
			for ; c.flows[0].count < int64(len(sent)); rounds++ {
				if rounds == 10_000 {
					t.Fatalf("%d of %d bytes have come after %d rounds", c.flows[0].count, len(sent), rounds)
				}
				updates, count := c.sides[0].tls.KeyUpdates(), c.flows[0].count
				h.round()
				// At first nobody knows: it has a turn among the quick ones, and
				// stands in line for as much.
				turns := 1
				if rounds == 0 {
					turns = 3
				}
				if n := c.sides[0].tls.KeyUpdates() - updates; n > turns*(fullTurn/updateCost+recordsAtOnce) {
					t.Fatalf("%d key updates in round %d", n, rounds)
				}
				if n := int(c.flows[0].count - count); n > turns*(fullTurn/recordCost+recordsAtOnce) {
					t.Fatalf("%d records in round %d", n, rounds)
				}
				if quick.flows[0].count != 64 {
					t.Fatal("another connection was left out")
				}
			}
			must(t, <-written)
			if !bytes.Equal(<-got, sent) {
				t.Fatal("other bytes came than were sent")
			}
		})
	}
}

// detachedLeg is a TLS connection with bare records on the far end.
func detachedLeg(t *testing.T) (peer secure.Detached, ours net.Conn) {
	t.Helper()
	server, client := configs(t, 0)
	a, b := tcpPair(t)
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
