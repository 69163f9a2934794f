package relay

import (
	"bytes"
	"io"
	"testing"

	"connect-proxy/listener/listenertest"
	"connect-proxy/listener/secure/record"
)

// floods are what a peer can send that costs more than its bytes, as records
// around one byte of content.
var floods = map[string]struct {
	append func(t *testing.T, f *forger, p []byte) []byte
	server bool // sends it
}{
	"key updates":              {func(t *testing.T, f *forger, p []byte) []byte { return f.update(t, p, 0) }, false},
	"key updates with answers": {func(t *testing.T, f *forger, p []byte) []byte { return f.update(t, p, 1) }, true},
	"alerts": {func(_ *testing.T, f *forger, p []byte) []byte {
		const warning, userCanceled = 1, 90
		return f.out.Seal(p, []byte{warning, userCanceled}, record.Alert)
	}, false},
	"empty records": {func(_ *testing.T, f *forger, p []byte) []byte {
		for range 8 {
			p = f.out.Seal(p, nil, record.ApplicationData)
		}
		return p
	}, false},
	"session tickets": {func(_ *testing.T, f *forger, p []byte) []byte { return f.out.Seal(p, ticket(3600), record.Handshake) }, true},
	"many session tickets a record": {func(_ *testing.T, f *forger, p []byte) []byte {
		return f.out.Seal(p, bytes.Repeat(ticket(3600), 8), record.Handshake)
	}, true},
	"tiny records": {func(_ *testing.T, _ *forger, p []byte) []byte { return p }, false},
}

func TestAFloodOfRecordsEndsATurnByWhatItCosts(t *testing.T) {
	for name, flood := range floods {
		t.Run(name, func(t *testing.T) {
			h := newByHand(t)
			peer, ours := forge(t, !flood.server)
			near, far := listenertest.TCPPair(t)
			from := 0 // the client's side, or the upstream's
			var c *conn
			if flood.server {
				from, c = 1, h.add(near, ours)
			} else {
				c = h.add(ours, near)
			}
			flooded := &c.flows[from]
			client, _, quick := h.plain()
			var sent, sealed []byte
			for i := range 6000 {
				sent = append(sent, byte(i))
				sealed = peer.out.Seal(flood.append(t, peer, sealed), sent[i:], record.ApplicationData)
			}
			all, _ := completeRecords(sealed, len(sealed))
			each := all / len(sent) // so many records to a byte
			written := make(chan error, 1)
			go func() {
				_, err := peer.raw.Write(sealed)
				written <- err
			}()
			got := make(chan []byte, 1)
			go func() {
				all := make([]byte, len(sent))
				_, _ = io.ReadFull(far, all)
				got <- all
			}()
			h.awaitFrom(c, from, minBatch)
			_, err := client.Write(make([]byte, 64))
			must(t, err)
			h.await(quick, 64)
			rounds := int64(0)
			for ; flooded.count < int64(len(sent)); rounds++ {
				if rounds == 10_000 {
					t.Fatalf("%d of %d bytes have come after %d rounds", flooded.count, len(sent), rounds)
				}
				l, turn := c.loop.Load(), busyTurn
				if l == h.quick {
					turn = 2 * quickTurn // for its event, and in line
				}
				updates, count := c.sides[from].protocol.(records).KeyUpdates(), flooded.count
				h.round(l)
				if n := c.sides[from].protocol.(records).KeyUpdates() - updates; n > turn/updateCost+2*recordsAtOnce {
					t.Fatalf("%d key updates in round %d", n, rounds)
				}
				if n := each * int(flooded.count-count); n > turn/recordCost+2*recordsAtOnce {
					t.Fatalf("%d records in round %d", n, rounds)
				}
				if quick.flows[0].count != 64 {
					t.Fatal("another connection was left out")
				}
			}
			if c.loop.Load() != h.busy {
				t.Error("it counts as quick")
			}
			must(t, <-written)
			if !bytes.Equal(<-got, sent) {
				t.Fatal("other bytes came than were sent")
			}
		})
	}
}
