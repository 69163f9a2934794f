package listener

import (
	"context"
	"sync"
	"time"
)

// stepContext is the context of one step of a connection. It becomes a real
// one, with a timer and a place below its parent, only when somebody asks for
// Done or Err: a handshake that goes by the socket's deadline and a decision
// that is read from memory never do.
type stepContext struct {
	parent   context.Context
	deadline time.Time

	mu     sync.Mutex
	inner  context.Context
	cancel context.CancelFunc
	ended  bool
}

var _ context.Context = (*stepContext)(nil)

func (s *stepContext) Deadline() (time.Time, bool) { return s.deadline, true }
func (s *stepContext) Done() <-chan struct{}       { return s.force().Done() }
func (s *stepContext) Err() error                  { return s.force().Err() }

// Value answers for the inner context once there is one: package context finds
// its own kind that way and needs no goroutine to follow it.
func (s *stepContext) Value(key any) any {
	s.mu.Lock()
	ctx := s.inner
	s.mu.Unlock()
	if ctx == nil {
		ctx = s.parent
	}
	return ctx.Value(key)
}

func (s *stepContext) force() context.Context {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.inner == nil {
		s.inner, s.cancel = context.WithDeadline(s.parent, s.deadline)
		if s.ended {
			s.cancel()
		}
	}
	return s.inner
}

// end cancels the context.
func (s *stepContext) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	if s.cancel != nil {
		s.cancel()
	}
}

// deadlineContext is the context of a handshake. Whatever ends a handshake does
// so by the socket, by its deadline or by closing it, so there is nothing to
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
