package listener

import (
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"testing"
	"time"
)

// TestTheSetIsWhatAModelSays adds, identifies and removes at random.
func TestTheSetIsWhatAModelSays(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	o := (Options{Handshake: nil, Dial: nil}).settings()
	tr := newTracker(func() {})
	model := map[*conn]string{}
	var order []*conn
	for range 5000 {
		switch k := random.IntN(3); {
		case k == 0 || len(order) == 0:
			c := &conn{}
			if err := tr.add(c, o); err != nil {
				t.Fatal(err)
			}
			model[c] = ""
			order = append(order, c)
		case k == 1:
			c := order[random.IntN(len(order))]
			peer := fmt.Sprint("peer", random.IntN(5))
			tr.identify(c, handingOver{}, SessionInfo{Peer: peer}, 1000)
			model[c] = peer
		default:
			i := random.IntN(len(order))
			tr.remove(order[i])
			delete(model, order[i])
			order = slices.Delete(order, i, i+1)
		}
		compare(t, tr, model)
	}
	tr.noMoreConns()
	for _, c := range order {
		tr.remove(c)
	}
	<-tr.empty
	if tr.connections != 0 || tr.handshakes.len() != 0 || len(tr.byPeer) != 0 {
		t.Errorf("left: %d admitted, %d handshakes, %d peers", tr.connections, tr.handshakes.len(), len(tr.byPeer))
	}
}

func compare(t *testing.T, tr *tracker, model map[*conn]string) {
	t.Helper()
	if tr.count() != len(model) || tr.connections != len(model) {
		t.Fatalf("%d live, %d admitted, want %d", tr.count(), tr.connections, len(model))
	}
	peers := map[string]bool{}
	for c, peer := range model {
		if c.peer != peer {
			t.Fatalf("connection is %q, want %q", c.peer, peer)
		}
		if peer != "" {
			peers[peer] = true
		}
	}
	if got := tr.peers(); len(got) != len(peers) {
		t.Fatalf("peers %q, want %d", got, len(peers))
	}
	listed := 0
	for peer, c := range tr.byPeer {
		for ; c != nil; c = c.next {
			if model[c] != peer {
				t.Fatalf("connection of %q is in the list of %q", model[c], peer)
			}
			listed++
		}
	}
	if listed != len(model) {
		t.Fatalf("%d in the lists, want %d", listed, len(model))
	}
}

// ended is a connection that can do nothing but end.
type ended struct{ net.Conn }

func (ended) Close() error { return nil }

func TestManyAreClosedByOneLookAtEach(t *testing.T) {
	o, tr := (Options{}).settings(), newTracker(func() {})
	const many = 40_000
	for i := range many {
		if err := tr.add(&conn{o: o, id: uint64(i), phase: handshaking{ended{}}}, o); err != nil {
			t.Fatal(err)
		}
	}
	began := time.Now()
	n := tr.closeMatching(func(c Connection) bool { return c.ID%4 != 0 }, ReasonDestinationChanged)
	// To look at all for each takes several times that on a quiet machine.
	if took := time.Since(began); n != many*3/4 || took > 3*time.Second {
		t.Errorf("%d of %d were closed, in %s", n, many, took)
	}
	for c := tr.byPeer[""]; c != nil; c = c.next {
		if (c.closing != nil) != (c.id%4 != 0) {
			t.Fatalf("%d: closing is %v", c.id, c.closing)
		}
	}
}
