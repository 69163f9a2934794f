package listener

import (
	"context"
	"sync"
	"time"
)

// This file tunes what a connection's contexts cost. Its types can be replaced
// by context.WithDeadline and everything works as before, with a timer and some
// allocations more for each connection.

// lazyContext is a context with a deadline that becomes a real one, with a timer
// and a place below its parent, only when somebody asks for Done or Err. A
// decision that is read from memory never does.
type lazyContext struct {
	parent   context.Context
	deadline time.Time

	mu        sync.Mutex
	inner     context.Context
	cancelled bool
	stop      context.CancelFunc // of inner
}

var _ context.Context = (*lazyContext)(nil)

func (c *lazyContext) Deadline() (time.Time, bool) { return c.deadline, true }
func (c *lazyContext) Done() <-chan struct{}       { return c.force().Done() }
func (c *lazyContext) Err() error                  { return c.force().Err() }

// Value answers for the inner context once there is one: package context finds
// its own kind that way and needs no goroutine to follow it.
func (c *lazyContext) Value(key any) any {
	c.mu.Lock()
	ctx := c.inner
	c.mu.Unlock()
	if ctx == nil {
		ctx = c.parent
	}
	return ctx.Value(key)
}

// force returns the inner context, which it makes at its first call.
func (c *lazyContext) force() context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.inner == nil {
		c.inner, c.stop = context.WithDeadline(c.parent, c.deadline)
		if c.cancelled {
			c.stop()
		}
	}
	return c.inner
}

// cancel ends the context. It may be called more than once.
func (c *lazyContext) cancel() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cancelled = true
	if c.stop != nil {
		c.stop()
	}
}

// deadlineContext is the context of a handshake. What ends a handshake does so
// by the socket, through its deadline or by closing it, so there is nothing to
// wait for here.
type deadlineContext struct {
	context.Context
	deadline time.Time
}

func (d *deadlineContext) Deadline() (time.Time, bool) { return d.deadline, true }
func (d *deadlineContext) Done() <-chan struct{}       { return nil }

func (d *deadlineContext) Err() error {
	if time.Now().Before(d.deadline) {
		return nil
	}
	return context.DeadlineExceeded
}
