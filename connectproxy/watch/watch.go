package watch

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
)

// Defaults of Options.
const (
	DefaultWait      = 5 * time.Minute
	DefaultFirstWait = time.Second
	// DefaultMinBackoff and DefaultMaxBackoff bound the wait after an error.
	// The upper one leaves room below the 15 s within which changes must take
	// effect again once an agent is back.
	DefaultMinBackoff = 250 * time.Millisecond
	DefaultMaxBackoff = 10 * time.Second
)

// Cursor says what the asker knows already. The zero value asks for an answer
// at once.
type Cursor struct {
	Index uint64
	Hash  string
}

// Fetch asks the agent once. It blocks for about wait while there is nothing
// newer than cur, and must return soon after ctx is done. The Cursor it returns
// is the agent's, as it came; Watch applies the rules to it.
type Fetch[T any] func(ctx context.Context, cur Cursor, wait time.Duration) (T, Cursor, error)

// Options describe one Watch.
type Options[T any] struct {
	// Name says what is watched, in logs and errors: "leaf", "endpoints db".
	Name string
	// Fetch is required.
	Fetch Fetch[T]
	// Equal reports that an answer brings nothing new; nil takes every answer
	// for a change.
	Equal func(a, b T) bool

	// Wait is how long the agent is asked to block; zero means DefaultWait.
	Wait time.Duration
	// FirstWait is the same for a question without a cursor. It is short, since
	// some agents block even those. Zero means DefaultFirstWait.
	FirstWait time.Duration
	// Poll, where positive, asks without a cursor about every so often, for
	// what the agent cannot block on or should not be made to.
	Poll time.Duration
	// Pace, where set, is asked after each answer for what takes the place of
	// Poll until the next one. It must be positive.
	Pace func() time.Duration

	// Turn, where set, is waited for before each question; its result is called
	// once the question has been answered. The time that it takes is none of
	// the agent's.
	Turn func(ctx context.Context) (done func(), err error)

	// MinBackoff and MaxBackoff bound the wait after an error; zero means the
	// defaults.
	MinBackoff, MaxBackoff time.Duration

	// Notify, where set, is called after each change of the value and must not
	// block: a goroutine that waits for Changed is more than some callers need.
	Notify func()
	// Logger is told of streaks of failures; nil means none.
	Logger hclog.Logger
}

func (o Options[T]) withDefaults() Options[T] {
	o.Wait = orDefault(o.Wait, DefaultWait)
	o.FirstWait = orDefault(o.FirstWait, DefaultFirstWait)
	o.MinBackoff = orDefault(o.MinBackoff, DefaultMinBackoff)
	o.MaxBackoff = max(orDefault(o.MaxBackoff, DefaultMaxBackoff), o.MinBackoff)
	if o.Logger == nil {
		o.Logger = hclog.NewNullLogger()
	}
	return o
}

func orDefault(d, fallback time.Duration) time.Duration {
	if d <= 0 {
		return fallback
	}
	return d
}

// polled says that questions do not wait for a change.
func (o *Options[T]) polled() bool { return o.Poll > 0 || o.Pace != nil }

// pause is how long to wait before the next poll.
func (o *Options[T]) pause() time.Duration {
	if o.Pace != nil {
		return jitter(o.Pace())
	}
	return jitter(o.Poll)
}

// Watch holds the latest answer to one question.
type Watch[T any] struct {
	o      Options[T]
	latest atomic.Pointer[value[T]]
	// wake holds at most one request to stop sleeping.
	wake chan struct{}

	mu     sync.Mutex // guards what follows
	health health
	// interrupt ends the question that is open; nil when none is that waits
	// for a change.
	interrupt context.CancelCauseFunc
	refresh   bool
	// begun counts the questions, answered is the last one that has ended, and
	// ended is closed when the next one does.
	begun, answered uint64
	ended           chan struct{}
}

// value is one state of the answer; next is closed when another replaces it.
type value[T any] struct {
	v    T
	ok   bool
	next chan struct{}
}

// New makes a Watch that has no value yet. It asks nothing before Run.
func New[T any](o Options[T]) *Watch[T] {
	w := &Watch[T]{o: o.withDefaults(), wake: make(chan struct{}, 1), ended: make(chan struct{})}
	w.latest.Store(&value[T]{next: make(chan struct{})})
	return w
}

// Latest returns the last good answer; ok is false before the first. It never
// blocks.
func (w *Watch[T]) Latest() (v T, ok bool) {
	l := w.latest.Load()
	return l.v, l.ok
}

// Changed returns a channel that is closed when the value next changes. Take it
// before Latest: then no change can fall between the two.
func (w *Watch[T]) Changed() <-chan struct{} {
	return w.latest.Load().next
}

// Wait returns the latest value as soon as there is one. Its error is ctx's,
// with the reason why there is no value if one is known.
func (w *Watch[T]) Wait(ctx context.Context) (T, error) {
	for {
		changed := w.Changed()
		if v, ok := w.Latest(); ok {
			return v, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			var zero T
			if err := w.Status().Err; err != nil {
				return zero, fmt.Errorf("waiting for %s: %w: %w", w.o.Name, ctx.Err(), err)
			}
			return zero, fmt.Errorf("waiting for %s: %w", w.o.Name, ctx.Err())
		}
	}
}

// Refresh asks the agent now for an answer that does not wait for a change: it
// ends a blocking question and cuts a back-off short. It returns at once. Calls
// that come faster than requests may be made are taken together.
func (w *Watch[T]) Refresh() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.refresh = true
	if w.interrupt != nil {
		w.interrupt(errRefresh)
		w.interrupt = nil
	}
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// Confirm is Refresh, and returns once a question put after the call has been
// answered, or has failed, or ctx is done. Its error is ctx's.
func (w *Watch[T]) Confirm(ctx context.Context) error {
	w.mu.Lock()
	before := w.begun
	w.mu.Unlock()
	w.Refresh()
	for {
		w.mu.Lock()
		done, ended := w.answered > before, w.ended
		w.mu.Unlock()
		if done {
			return nil
		}
		select {
		case <-ended:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// publish makes v the latest value unless it says the same as the last one.
func (w *Watch[T]) publish(v T) (changed bool) {
	old := w.latest.Load()
	if old.ok && w.o.Equal != nil && w.o.Equal(old.v, v) {
		return false
	}
	w.latest.Store(&value[T]{v: v, ok: true, next: make(chan struct{})})
	close(old.next)
	if w.o.Notify != nil {
		w.o.Notify()
	}
	return true
}
