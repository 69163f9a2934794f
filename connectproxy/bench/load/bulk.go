package load

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// Bulk is what transfers achieved.
type Bulk struct {
	// Bytes went through all connections together within Took.
	Bytes int64
	Took  time.Duration
}

// Transfer sends (up) or receives (down) as much as it can over so many
// connections at once.
func (c *Client) Transfer(ctx context.Context, conns int, up bool, w Window) (Bulk, error) {
	first := byte(opSource)
	if up {
		first = opSink
	}
	open := make([]*conn, 0, conns)
	defer func() {
		for _, one := range open {
			one.end()
		}
	}()
	for range conns {
		one, err := c.open(ctx, []byte{first})
		if err != nil {
			return Bulk{}, fmt.Errorf("opening a connection for a transfer: %w", err)
		}
		open = append(open, one)
	}
	var (
		work   sync.WaitGroup
		p      phases
		bytes  atomic.Int64
		failed failures
	)
	for _, one := range open {
		work.Go(func() {
			if err := one.transfer(up, &p, &bytes); err != nil {
				failed.add(err)
			}
		})
	}
	b := Bulk{Took: w.run(ctx, &p)}
	work.Wait()
	b.Bytes = bytes.Load()
	if failed.first != nil {
		return b, fmt.Errorf("transferring: %w", failed.first)
	}
	return b, ctx.Err()
}

func (c *conn) transfer(up bool, p *phases, bytes *atomic.Int64) error {
	buf := make([]byte, chunk)
	for !p.over.Load() {
		c.SetDeadline(time.Now().Add(patience))
		step := c.Read
		if up {
			step = c.Write
		}
		n, err := step(buf)
		if err != nil {
			return err
		}
		if p.measuring.Load() {
			bytes.Add(int64(n))
		}
	}
	return nil
}
