package config

import (
	"context"
	"sync/atomic"
)

// Source is where configurations come from. One goroutine at a time may call
// Next; Problem is safe for any.
type Source interface {
	// Next blocks until there is a configuration that differs from the last
	// one it gave, and returns it, complete with defaults and validated. Trouble
	// that may pass (an agent that is down, a 404 during a reload, a half
	// written file) is waited out inside. An error is ctx's, or an *Invalid;
	// after an *Invalid the next call waits for the next change.
	Next(ctx context.Context) (*Config, error)

	// Problem says in one line why nothing newer has been read, or is empty.
	Problem() string
}

// Static is a Source that never changes.
type Static struct {
	// Config is returned by the first Next as it is.
	Config *Config
	given  atomic.Bool
}

var _ Source = (*Static)(nil)

// Next returns the configuration once, then waits for ctx.
func (s *Static) Next(ctx context.Context) (*Config, error) {
	if s.given.CompareAndSwap(false, true) {
		return s.Config, nil
	}
	<-ctx.Done()
	return nil, ctx.Err()
}

// Problem is always empty.
func (s *Static) Problem() string { return "" }
