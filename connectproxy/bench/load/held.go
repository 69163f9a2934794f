package load

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"
)

// Held are connections that stay open and answer requests. It is for one
// goroutine.
type Held struct {
	client *Client
	conns  []*conn
}

// Hold prepares to open connections.
func (c *Client) Hold() *Held { return &Held{client: c} }

// Len is how many are open.
func (h *Held) Len() int { return len(h.conns) }

// Close closes all of them.
func (h *Held) Close() {
	for _, one := range h.conns {
		one.end()
	}
	h.conns = nil
}

// Ask is a request of one connection.
type Ask struct {
	// Request and Answer are lengths in bytes; a request has at least 8.
	Request, Answer int
}

// Grow opens connections, some at a time, until there are n or the time is up,
// and has each answer first. It says what went wrong first, and how often.
func (h *Held) Grow(ctx context.Context, n int, first Ask, within time.Duration) (failed int, err error) {
	const atATime = 32
	var (
		mu    sync.Mutex
		work  sync.WaitGroup
		bad   failures
		turns = make(chan struct{})
	)
	text := append([]byte{opAnswer}, request(first.Request, first.Answer)...)
	for range atATime {
		work.Go(func() {
			buf := make([]byte, 64<<10)
			for range turns {
				one, err := h.client.open(ctx, text)
				if err == nil {
					err = one.await(buf, first.Answer)
				}
				if err != nil {
					bad.add(err)
					continue
				}
				mu.Lock()
				h.conns = append(h.conns, one)
				mu.Unlock()
			}
		})
	}
	timer := time.NewTimer(within)
	defer timer.Stop()
	for left := n - len(h.conns); left > 0; left-- {
		select {
		case turns <- struct{}{}:
			continue
		case <-timer.C:
			bad.add(fmt.Errorf("opening connections: %s were not enough for %d", within, n))
		case <-ctx.Done():
			bad.add(ctx.Err())
		}
		break
	}
	close(turns)
	work.Wait()
	return n - len(h.conns), bad.first
}

// AskEach has every connection answer once, some at a time, and says how many
// did not.
func (h *Held) AskEach(ctx context.Context, ask Ask) (failed int, err error) {
	var (
		work  sync.WaitGroup
		bad   failures
		turns = make(chan *conn)
		text  = request(ask.Request, ask.Answer)
	)
	for range 32 {
		work.Go(func() {
			buf := make([]byte, 64<<10)
			for one := range turns {
				if err := one.request(text, buf, ask.Answer); err != nil {
					bad.add(err)
				}
			}
		})
	}
	for _, one := range h.conns {
		if ctx.Err() != nil {
			break
		}
		turns <- one
	}
	close(turns)
	work.Wait()
	return bad.n, bad.first
}

func (c *conn) request(text, buf []byte, answer int) error {
	c.SetDeadline(time.Now().Add(patience))
	if _, err := c.Write(text); err != nil {
		return fmt.Errorf("sending a request: %w", err)
	}
	return c.await(buf, answer)
}

// Requests are what connections that ask again and again achieved.
type Requests struct {
	// Times are those of the requests begun within Took, in order.
	Times []time.Duration
	Took  time.Duration
}

// Ask has every connection ask again as soon as it was answered.
func (h *Held) Ask(ctx context.Context, ask Ask, w Window) (Requests, error) {
	var (
		work  sync.WaitGroup
		p     phases
		bad   failures
		text  = request(ask.Request, ask.Answer)
		times = make([][]time.Duration, len(h.conns))
	)
	for i, one := range h.conns {
		work.Go(func() {
			buf := make([]byte, min(max(ask.Answer, 1), 64<<10))
			for !p.over.Load() {
				count, start := p.measuring.Load(), time.Now()
				if err := one.request(text, buf, ask.Answer); err != nil {
					bad.add(err)
					return
				}
				if count {
					times[i] = append(times[i], time.Since(start))
				}
			}
		})
	}
	r := Requests{Took: w.run(ctx, &p)}
	work.Wait()
	r.Times = slices.Concat(times...)
	slices.Sort(r.Times)
	if bad.first != nil {
		return r, fmt.Errorf("asking over %d connections, of which %d ended: %w", len(h.conns), bad.n, bad.first)
	}
	return r, ctx.Err()
}
