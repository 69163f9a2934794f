package metrics

import (
	"context"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// places bounds how many answers are under way at a time. Who waits for one gets
// that of whoever has had it for longest, once that is longer than turn. A client
// has maxOfClient at most, waiting or not. It is safe for concurrent use.
type places struct {
	free        chan struct{} // has one for each place that is taken
	maxOfClient int           // zero is no bound
	turn        time.Duration

	mu      sync.Mutex // guards what follows
	asking  map[netip.Addr]int
	holders []*holder // the longest first
}

// holder is an answer under way.
type holder struct {
	since  time.Time
	cutOff func()
}

func newPlaces(max, maxOfClient int, turn time.Duration) *places {
	return &places{free: make(chan struct{}, max), maxOfClient: maxOfClient, turn: turn, asking: make(map[netip.Addr]int)}
}

// take waits for a place until ctx is done, and returns what gives it back; nil
// where there is none. cutOff has an answer end that takes longer than its turn; it
// may be called from any goroutine.
func (p *places) take(ctx context.Context, client netip.Addr, cutOff func()) (leave func()) {
	p.mu.Lock()
	if p.maxOfClient > 0 && p.asking[client] >= p.maxOfClient {
		p.mu.Unlock()
		return nil
	}
	p.asking[client]++
	p.mu.Unlock()
	h := &holder{cutOff: cutOff}
	if !p.wait(ctx) {
		p.left(client, h)
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	h.since = time.Now()
	p.holders = append(p.holders, h)
	return func() {
		p.left(client, h)
		<-p.free
	}
}

func (p *places) left(client netip.Addr, h *holder) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.asking[client]--; p.asking[client] == 0 {
		delete(p.asking, client)
	}
	p.holders = slices.DeleteFunc(p.holders, func(o *holder) bool { return o == h })
}

func (p *places) wait(ctx context.Context) bool {
	select {
	case p.free <- struct{}{}:
		return true
	default:
	}
	turn := time.NewTicker(p.turn)
	defer turn.Stop()
	for {
		p.cutLongest()
		select {
		case p.free <- struct{}{}:
			return true
		case <-turn.C:
		case <-ctx.Done():
			return false
		}
	}
}

// cutLongest has the answer end that has been under way for longest, if its turn is
// over.
func (p *places) cutLongest() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.holders) > 0 && time.Since(p.holders[0].since) >= p.turn {
		p.holders[0].cutOff()
		p.holders = p.holders[1:]
	}
}
