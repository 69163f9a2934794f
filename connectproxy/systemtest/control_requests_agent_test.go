package systemtest_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"connect-proxy/connectproxy/agenttest"
	"connect-proxy/connectproxy/agenttest/traffic"
	"connect-proxy/connectproxy/queue"
)

// flood makes new connections both ways, up to a thousand a second each, for as
// long as during, and returns how many were answered.
func (m *mesh) flood(during time.Duration) int {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(m.t.Context(), during)
	defer cancel()
	var answered atomic.Int64
	var all sync.WaitGroup
	for _, w := range m.load.ways {
		turns := make(chan int)
		all.Go(func() {
			defer close(turns)
			tick := time.NewTicker(time.Millisecond)
			defer tick.Stop()
			for n := 0; ; n++ {
				select {
				case <-tick.C:
				case <-ctx.Done():
					return
				}
				select {
				case turns <- n:
				case <-ctx.Done():
					return
				}
			}
		})
		for range 64 {
			all.Go(func() {
				for n := range turns {
					if err := visit(context.WithoutCancel(ctx), w, n); err != nil {
						m.t.Errorf("to %s: %v", w.app, err)
						return
					}
					answered.Add(1)
				}
			})
		}
	}
	all.Wait()
	return int(answered.Load())
}

func TestTheAgentIsAskedNoMoreForAThousandConnectionsASecond(t *testing.T) {
	agenttest.SkipShort(t)
	parallel(t)
	m := startMesh(t, agenttest.Modern(t, agenttest.Options{}), meshOptions{doors: true})
	m.load.stop()
	nodes := []*node{m.db, m.web}
	began := time.Now()
	const held = 1 // the intentions'
	for _, n := range nodes {
		agenttest.Eventually(t, soon, func() error {
			if c := n.door.Counts(traffic.IntentionsMatch); c.Held != held {
				return fmt.Errorf("%s holds %d questions", n.name, c.Held)
			}
			return nil
		})
		n.door.ResetCounts()
	}
	const during = 10 * time.Second
	answered := m.flood(during)
	for answered < 500 && time.Since(began) < time.Minute { // a machine with much else to do
		answered += m.flood(during)
	}
	took := time.Since(began)
	t.Logf("%d connections in %s, %d a second in both directions together", answered, took.Round(time.Millisecond), int(float64(answered)/took.Seconds()))
	if answered < 500 {
		t.Error("too few to tell")
	}
	for _, n := range nodes {
		c := n.door.Counts(traffic.All)
		t.Logf("%s asked %d times, held %d questions, %d at most, over %d connections", n.name, c.Requests, c.Held, c.MostHeld, n.door.conns.Load())
		// What is asked by time alone, with a tenth for chance: the
		// upstream's instances every second, the registration every two, roots
		// and leaf every five, the discovery chain every ten, and the decision about
		// the one caller every 45. So often in the ten seconds, and then again.
		all := 29
		for e, by := range map[traffic.Endpoint]struct {
			most  int
			every time.Duration
		}{
			traffic.Service: {7, 2 * time.Second}, traffic.HealthConnect: {12, time.Second},
			traffic.Roots: {3, 5 * time.Second}, traffic.Leaf: {3, 5 * time.Second},
			traffic.DiscoveryChain: {3, 10 * time.Second}, traffic.Authorize: {1, 45 * time.Second},
			traffic.IntentionsMatch: {0, time.Hour},
		} {
			more := int((took - during) / by.every)
			all += more
			if got := n.door.Requests(e); got > by.most+more {
				t.Errorf("%s asked %d times for %s, want at most %d", n.name, got, e, by.most+more)
			}
		}
		if c.Requests > all {
			t.Errorf("%s asked %d times", n.name, c.Requests)
		}
		if c.MostHeld > queue.MaxConnections || n.door.conns.Load() > queue.MaxConnections {
			t.Errorf("%s held %d questions at most, over %d connections", n.name, c.MostHeld, n.door.conns.Load())
		}
	}
}
