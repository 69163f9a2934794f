package relay

import (
	"io"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"connect-proxy/listener/listenertest"
)

// ask sends a request over a connection, and returns when it has come.
func (h *byHand) ask(client net.Conn, c *conn) {
	h.Helper()
	had, err := unix.IoctlGetInt(c.sides[0].fd, unix.SIOCINQ)
	must(h.T, err)
	_, err = client.Write(make([]byte, request))
	must(h.T, err)
	h.await(c, had+request)
}

// request is the length of one.
const request = 64

// asked is how many requests of c have been passed on.
func asked(c *conn) int { return int(c.flows[0].count / request) }

// Those that ask again as soon as they were served come after all that wait. So does
// one that asks late, and no later.
func TestOfThousandsThatWakeTogetherNoneIsServedTwiceBeforeAllWere(t *testing.T) {
	h := newByHand(t)
	const most = 2000
	var clients []*net.TCPConn
	var all []*conn
	for range min(most, openFiles(t)/5) {
		client, _, c := h.plain()
		clients, all = append(clients, client), append(all, c)
	}
	lateClient, _, late := h.plain()
	h.round(h.quick) // nothing to do
	for i, c := range all {
		h.ask(clients[i], c)
	}
	each := len(h.kernel) // events in a round
	need := (len(all) + each - 1) / each
	before := make([]int, len(all))
	for n := range need {
		h.round(h.quick)
		if n == 0 {
			h.ask(lateClient, late)
		}
		none, again := 0, 0
		for i, c := range all {
			now := asked(c)
			switch {
			case now == 0:
				none++
			case now > 1:
				again++
			}
			if now > before[i] && now < 2 {
				h.ask(clients[i], c)
			}
			before[i] = now
		}
		if none > 0 && again > 0 {
			t.Fatalf("after round %d, %d were served twice and %d not at all", n+1, again, none)
		}
		// An event of each round is the test's own.
		if most := len(all) - (n+1)*(each-1); none > max(most, 0) {
			t.Fatalf("after round %d, %d were not served, want %d at most", n+1, none, most)
		}
	}
	h.round(h.quick)
	if asked(late) != 1 {
		t.Error("one that was quiet is served after those that ask without pause")
	}
	for range need + 1 {
		h.round(h.quick)
	}
	for _, c := range all {
		if asked(c) != 2 {
			t.Fatalf("one was served %d times, having asked twice", asked(c))
		}
	}
}

func openFiles(t *testing.T) int {
	t.Helper()
	var limit unix.Rlimit
	must(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &limit))
	return int(min(limit.Cur, 1<<20))
}

func TestOneThatResetsAndComesAgainTakesNobodysTurnAndLeavesNothing(t *testing.T) {
	h := newByHand(t)
	client, _, quiet := h.plain()
	for n := 1; n <= 300; n++ {
		// What it says before it goes is not all the same.
		again, in := listenertest.TCPPair(t)
		out, far := listenertest.TCPPair(t)
		c := h.add(in, out)
		if n%3 > 0 {
			_, err := again.Write(make([]byte, n%3*quickTurn/2))
			must(t, err)
		}
		if n%2 > 0 {
			h.round(h.quick)
		}
		reset(again)
		h.ask(client, quiet)
		for rounds := 0; !c.ended; rounds++ {
			if rounds == 100_000 {
				t.Fatal("it does not end")
			}
			h.round(c.loop.Load())
			if asked(quiet) != n && c.loop.Load() == h.quick {
				t.Fatalf("after reset %d another one was left out", n)
			}
		}
		if asked(quiet) != n {
			h.round(h.quick)
		}
		if asked(quiet) != n {
			t.Fatalf("after reset %d another one was left out", n)
		}
		_ = far.Close()
	}
	for _, l := range []*eventLoop{h.quick, h.busy} {
		if len(l.slots) > 3 || len(l.timers) > 0 || len(l.unacked) > 1 || l.ready.first != nil {
			t.Errorf("%d slots, %d timers and %d to look at are left", len(l.slots), len(l.timers), len(l.unacked))
		}
	}
}

func TestASideThatReadsSlowlyTakesNobodysTurn(t *testing.T) {
	h := newByHand(t)
	client, _, quiet := h.plain()
	sender, reader, slow := h.plain()
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		for p := make([]byte, 64<<10); ; {
			if _, err := sender.Write(p); err != nil {
				return
			}
		}
	}()
	defer func() {
		reset(sender)
		<-sent
	}()
	rounds := func() {
		h.round(h.quick)
		h.round(h.busy)
	}
	// Until nothing moves: its reader takes nothing.
	for end := time.Now().Add(30 * time.Second); len(slow.flows[0].pending) == 0; rounds() {
		if time.Now().After(end) {
			t.Fatal("it takes without end")
		}
	}
	turns := 0
	for n := 1; n <= 200; n++ {
		if n > 100 { // and from now on a little at a time
			_, err := io.CopyN(io.Discard, reader, 100)
			must(t, err)
		}
		h.ask(client, quiet)
		count := slow.flows[0].count
		rounds()
		if asked(quiet) != n {
			t.Fatalf("request %d had to wait", n)
		}
		if slow.queued {
			t.Fatal("it stands in line although there is no room for anything")
		}
		if slow.flows[0].count != count {
			turns++
		}
		if held := len(slow.flows[0].pending); held > maxBatch {
			t.Fatalf("it holds %d bytes", held)
		}
	}
	if turns > 20 { // its kernel may find some room at first
		t.Errorf("it moved something in %d of 200 rounds, while its reader took 10 kB", turns)
	}
}
