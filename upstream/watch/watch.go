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
	// DefaultWait is Consul's own.
	DefaultWait = 5 * time.Minute
	// DefaultFirstWait is what the first answer may be late by.
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
	// Index is an answer's X-Consul-Index, or zero.
	Index uint64
	// Hash is an answer's X-Consul-ContentHash, which some endpoints have in place
	// of the index, or empty.
	Hash string
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

	// MinBackoff and MaxBackoff bound the wait after an error; zero means the
	// defaults.
	MinBackoff, MaxBackoff time.Duration

	// Notify, where set, is called after each change of the value and whenever
	// questions begin or cease to fail. It must not block: a goroutine that waits
	// for Changed is more than some callers need.
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
		return Coalesce(o.Pace())
	}
	return Coalesce(o.Poll)
}

// Watch holds the latest answer to one question. Either Run asks it, or a
// Scheduler does.
type Watch[T any] struct {
	o      Options[T]
	latest atomic.Pointer[T] // nil before the first

	mu     sync.Mutex // guards what follows
	health health
	// changed is closed when the value next changes; nil while nobody waits.
	changed chan struct{}
	// interrupt ends the question that is open; nil when none is that waits
	// for a change.
	interrupt context.CancelCauseFunc
	refresh   bool
	// wake holds at most one request to stop sleeping; nil before Run.
	wake chan struct{}
	// scheduler has the Watch as task, where a Scheduler asks.
	scheduler *Scheduler
	task      *scheduled
	// begun counts the questions, answered is the last one that has ended, and
	// ended is closed when the next one does; nil while nobody waits.
	begun, answered uint64
	ended           chan struct{}

	pace pace // of whoever asks
}

// New makes a Watch that has no value yet. It asks nothing before Run or
// Schedule.
func New[T any](o Options[T]) *Watch[T] { return &Watch[T]{o: o.withDefaults()} }

// Schedule has s ask the question, in place of Run, for the first time once
// first has passed: at the pace of Options, before others where urgent reports
// true, and with neither cursor nor wait.
func (w *Watch[T]) Schedule(s *Scheduler, first time.Duration, urgent func() bool) {
	w.mu.Lock()
	w.scheduler, w.task = s, &scheduled{asker: w, urgent: urgent}
	t := w.task
	w.mu.Unlock()
	s.add(t, first)
}

// Unschedule undoes Schedule, and reports whether there was anything to undo. It
// does not wait for a question that is under way, which is given up.
func (w *Watch[T]) Unschedule() bool {
	w.mu.Lock()
	s, t := w.scheduler, w.task
	w.scheduler, w.task = nil, nil
	w.mu.Unlock()
	if t == nil {
		return false
	}
	s.remove(t)
	return true
}

// Latest returns the last good answer; ok is false before the first. It never
// blocks.
func (w *Watch[T]) Latest() (v T, ok bool) {
	if l := w.latest.Load(); l != nil {
		return *l, true
	}
	return v, false
}

// Changed returns a channel that is closed when the value next changes. Take it
// before Latest: then no change can fall between the two.
func (w *Watch[T]) Changed() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.changed == nil {
		w.changed = make(chan struct{})
	}
	return w.changed
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
	if w.task != nil {
		w.scheduler.hurry(w.task)
	}
	select {
	case w.wake <- struct{}{}:
	default: // it is awake, or nobody runs it
	}
}

// Asked is how many questions have been put so far.
func (w *Watch[T]) Asked() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.begun
}

// Confirm returns once a question after the first so many has been answered, or
// has failed, or ctx is done. Its error is ctx's. Where there has been none yet,
// it has one put at once, as Refresh does.
func (w *Watch[T]) Confirm(ctx context.Context, asked uint64) error {
	for refreshed := false; ; {
		w.mu.Lock()
		if w.answered > asked {
			w.mu.Unlock()
			return nil
		}
		missing := w.begun <= asked && !refreshed
		if w.ended == nil {
			w.ended = make(chan struct{})
		}
		ended := w.ended
		w.mu.Unlock()
		if missing {
			refreshed = true
			w.Refresh()
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
	if old != nil && w.o.Equal != nil && w.o.Equal(*old, v) {
		return false
	}
	w.latest.Store(&v)
	w.mu.Lock()
	if w.changed != nil {
		close(w.changed)
		w.changed = nil
	}
	w.mu.Unlock()
	return true
}

func (w *Watch[T]) notify() {
	if w.o.Notify != nil {
		w.o.Notify()
	}
}
