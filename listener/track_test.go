package listener

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestTheSetIsWhatAModelSays adds, identifies and removes at random.
func TestTheSetIsWhatAModelSays(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	o := (Options{Handshake: nil, Dial: nil}).settings()
	tr := newTracker()
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
			tr.identify(c, Session{Peer: peer}, 1000)
			model[c] = peer
		default:
			i := random.IntN(len(order))
			tr.remove(order[i])
			delete(model, order[i])
			order = slices.Delete(order, i, i+1)
		}
		compare(t, tr, model)
	}
	tr.seal()
	for _, c := range order {
		tr.remove(c)
	}
	<-tr.empty
	if tr.admitted != 0 || tr.strangers.len() != 0 || len(tr.byPeer) != 0 {
		t.Errorf("left: %d admitted, %d strangers, %d peers", tr.admitted, tr.strangers.len(), len(tr.byPeer))
	}
}

func compare(t *testing.T, tr *tracker, model map[*conn]string) {
	t.Helper()
	if tr.count() != len(model) || tr.admitted != len(model) {
		t.Fatalf("%d live, %d admitted, want %d", tr.count(), tr.admitted, len(model))
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
