package connectproxy

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"testing"

	"connect-proxy/config"
)

// thousands is a configuration of many upstreams that need no agent and no port.
func thousands(n int) config.Config {
	c := config.Config{Mode: config.File}
	for i := range n {
		c.Upstreams = append(c.Upstreams, config.Upstream{
			Destination: config.Destination{Addresses: fmt.Sprintf("127.0.0.1:%d", 1+i)}, Identity: config.PlaintextIdentity,
		})
	}
	return c.WithDefaults()
}

func TestToLookAtAThousandUpstreamsAtRestTakesNoMemory(t *testing.T) {
	const n = 1000
	p, err := New(Options{Source: &feed{}})
	if err != nil {
		t.Fatal(err)
	}
	base, kill := context.WithCancel(t.Context())
	defer kill()
	l := newLoop(p)
	defer l.close()
	look := func() {
		l.reconcile(base)
		l.publish()
		l.logChanges()
	}
	use := func() {
		c := thousands(n)
		l.setConfig(base, &c)
		look()
		if len(l.listeners) != n {
			t.Fatalf("%d listeners", len(l.listeners))
		}
	}
	use()
	use() // what is made anew and says the same is nothing new
	const times, most = 20, 16 << 10
	least := uint64(math.MaxUint64) // of some rounds: the whole process is counted
	for range 5 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range times {
			look()
		}
		runtime.ReadMemStats(&after)
		least = min(least, (after.TotalAlloc-before.TotalAlloc)/times)
	}
	if least > most {
		t.Errorf("%d bytes each time that nothing has changed, which is %d for each upstream", least, least/n)
	}
}

func TestWhatOthersHaveSeenOfTheListenersDoesNotChange(t *testing.T) {
	s := &state{listeners: map[key]*boundListener{{address: "a"}: {}}}
	first := s.copy(nil)
	second := s.copy(first)
	s.listeners[key{address: "b"}] = &boundListener{}
	third := s.copy(second)
	if len(first.listeners) != 1 || len(second.listeners) != 1 || len(third.listeners) != 2 {
		t.Errorf("%d, %d and %d listeners", len(first.listeners), len(second.listeners), len(third.listeners))
	}
}
