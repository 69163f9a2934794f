package broker

import (
	"maps"
	"sync"
	"time"

	"connect-proxy/upstream/loglimit"
)

// Counts says what has become of events since the start. The words are those of
// metrics.
type Counts struct {
	// Events are those that came, by who brought them (application, or proxy) and
	// then by what became of them: taken, where at least one who subscribes is to get
	// it, nobody, where none does, and refused, where who brought it was told so.
	Events map[string]map[string]uint64
	// Lost are those that one who subscribes does not get, by who that is (service,
	// or websocket) and then by why: queue_full, too_late, failed.
	Lost map[string]map[string]uint64
}

const (
	fromApplication, fromProxy = "application", "proxy"
	toService, toWebsocket     = "service", "websocket"

	lossFull, lossLate, lossFailed = "queue_full", "too_late", "failed"
)

// eventCounts are a Broker's Counts, with what bounds the lines about losses.
type eventCounts struct {
	lines loglimit.Limit

	mu sync.Mutex // guards what follows
	of Counts
}

func newCounts() eventCounts {
	return eventCounts{of: Counts{Events: map[string]map[string]uint64{}, Lost: map[string]map[string]uint64{}}}
}

// Counts returns what was counted so far.
func (b *Broker) Counts() Counts {
	b.counts.mu.Lock()
	defer b.counts.mu.Unlock()
	return Counts{copied(b.counts.of.Events), copied(b.counts.of.Lost)}
}

func copied(m map[string]map[string]uint64) map[string]map[string]uint64 {
	out := make(map[string]map[string]uint64, len(m))
	for k, v := range m {
		out[k] = maps.Clone(v)
	}
	return out
}

func (c *eventCounts) add(to map[string]map[string]uint64, a, b string, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if to[a] == nil {
		to[a] = make(map[string]uint64)
	}
	to[a][b] += uint64(n)
}

// came counts an event that some get, or none, or that is refused.
func (b *Broker) came(from string, taken int, err error) {
	result := "taken"
	switch {
	case err != nil:
		result = "refused"
	case taken == 0:
		result = "nobody"
	}
	b.counts.add(b.counts.of.Events, from, result, 1)
}

// lost counts events that one who subscribes does not get, and says so at a bounded
// rate. Of kind and loss there are those above.
func (b *Broker) lost(kind, member, loss, why string, events int) {
	b.counts.add(b.counts.of.Lost, kind, loss, events)
	if logged, left := b.counts.lines.Take(time.Now()); logged {
		b.o.Logger.Warn("events lost", "subscriber", member, "events", events, "reason", why, "suppressed", left)
	}
}
