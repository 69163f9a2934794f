package config

import (
	"cmp"
	"context"
	"sync/atomic"
	"time"
)

// Source is where configurations come from. One goroutine at a time may call
// Next; Problem is safe for any.
type Source interface {
	// Next blocks until there is a configuration that differs from the last
	// one it gave, and returns it, complete with defaults and validated. Trouble
	// that may pass (an agent that is down, a 404 during a reload, a half
	// written file) is waited out inside. An error is ctx's, or an *Invalid;
	// after an *Invalid the next call waits for the next change, and gives the
	// configuration of before if that is what comes back.
	Next(ctx context.Context) (*Config, error)

	// Problem says in one line why nothing newer has been read, or is empty.
	Problem() string
}

// Confirmer is a Source that asks somebody what is to run.
type Confirmer interface {
	// Confirmed returns when it last had an answer, of use or not; zero before the
	// first one. It is safe for any goroutine.
	Confirmed() time.Time
}

// Static is a Source that never changes.
type Static struct {
	// Config is returned by the first Next as it is.
	Config    *Config
	lastGiven atomic.Bool
}

var _ Source = (*Static)(nil)

// NewStatic makes a Source of a configuration that a program has made for a proxy
// within itself, with defaults in the place of what is left out. A Mode that is
// empty means Embedded. The error is an *Invalid with every mistake.
func NewStatic(c Config) (*Static, error) {
	c.Mode = cmp.Or(c.Mode, Embedded)
	c = c.WithDefaults()
	if mistakes := c.Validate(); len(mistakes) > 0 {
		return nil, &Invalid{Origin: string(c.Mode), Mistakes: mistakes}
	}
	return &Static{Config: &c}, nil
}

// Next returns the configuration once, then waits for ctx.
func (s *Static) Next(ctx context.Context) (*Config, error) {
	if s.lastGiven.CompareAndSwap(false, true) {
		return s.Config, nil
	}
	<-ctx.Done()
	return nil, ctx.Err()
}

// Problem is always empty.
func (s *Static) Problem() string { return "" }
