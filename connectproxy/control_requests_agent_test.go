package connectproxy_test

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
	t.Parallel()
	m := startMesh(t, agenttest.Modern(t, agenttest.Options{}), meshOptions{doors: true})
	m.load.stop()
	nodes := []*node{m.db, m.web}
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
	began := time.Now()
	answered := m.flood(during)
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
		// the one caller every 45.
		for e, most := range map[traffic.Endpoint]int{
			traffic.Service: 7, traffic.HealthConnect: 12, traffic.Roots: 3, traffic.Leaf: 3,
			traffic.DiscoveryChain: 3, traffic.Authorize: 1, traffic.IntentionsMatch: 0,
		} {
			if got := n.door.Requests(e); got > most {
				t.Errorf("%s asked %d times for %s, want at most %d", n.name, got, e, most)
			}
		}
		if c.Requests > 29 {
			t.Errorf("%s asked %d times", n.name, c.Requests)
		}
		if c.MostHeld > queue.MaxConnections || n.door.conns.Load() > queue.MaxConnections {
			t.Errorf("%s held %d questions at most, over %d connections", n.name, c.MostHeld, n.door.conns.Load())
		}
	}
}
