package watch

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"connect-proxy/upstream/backoff"
)

const (
	// minGap is the least time between the starts of two requests, whatever the
	// agent answers: the promise that no answer makes this loop spin.
	minGap = 250 * time.Millisecond
	// maxIdleGap is what the gap grows to while the agent answers at once with
	// nothing new, as one does that cannot block on this question.
	maxIdleGap = 5 * time.Second
	// maxBusyGap is the same while the index moves but the value does not, as
	// that of a service without instances does with every change in the
	// catalog. It is short, since the next change may be a real one.
	maxBusyGap = time.Second
	// settled is how long a question must have been open, or the agent well,
	// for what follows to count as something new.
	settled = 5 * time.Second
	// spread is the time over which questions are put again that failed
	// together.
	spread = 500 * time.Millisecond
	// grace is what an answer may take beyond the time it was asked to block.
	grace = 10 * time.Second
)

var (
	errRefresh = errors.New("refresh asked for")
	errSilent  = errors.New("no answer in time")
)

// pace is what Run remembers from one request to the next.
type pace struct {
	cursor   Cursor
	failures int // in a row, short-lived successes between them not counted
	idle     int // answers in a row that came early with nothing new
}

// Run asks until ctx is done and returns ctx's error. Only one Run at a time.
func (w *Watch[T]) Run(ctx context.Context) error {
	defer w.stopped()
	w.mu.Lock()
	w.wake = make(chan struct{}, 1)
	w.mu.Unlock()
	for ctx.Err() == nil {
		start := time.Now()
		delay := w.turn(ctx, w.fetchApart)
		gap := minGap - time.Since(start)
		if !w.sleep(ctx, max(delay, gap), gap) {
			break
		}
	}
	return ctx.Err()
}

// askOnce is what a Scheduler calls.
func (w *Watch[T]) askOnce(ctx context.Context) (next time.Duration) {
	start := time.Now()
	delay := w.turn(ctx, w.o.Fetch)
	return max(delay, minGap-time.Since(start))
}

// outage is closed once the agent can be reached again; nil while it can.
func (w *Watch[T]) outage() <-chan struct{} { return recovery(w.Status().Err) }

// turn asks once, takes the answer in, and says how long to wait before the
// next question.
func (w *Watch[T]) turn(ctx context.Context, fetch Fetch[T]) time.Duration {
	p := &w.pace
	if w.takeRefresh() {
		p.cursor = Cursor{}
	}
	start := time.Now()
	asked := p.cursor
	v, got, err := w.fetchInTime(ctx, asked, fetch)
	defer w.end() // once the answer is there for all to see
	switch {
	case ctx.Err() != nil, errors.Is(err, errRefresh):
		return 0
	case err != nil:
		p.cursor, p.idle = Cursor{}, 0
		if time.Since(start) >= settled {
			p.failures = 0
		}
		p.failures++
		delay := w.backoff(p.failures)
		if w.failed(err, start, delay) {
			w.notify()
		}
		return delay
	}

	if asked != (Cursor{}) || w.o.polled() {
		// Until then the agent may well fail each question that blocks and
		// answer each that does not.
		p.failures = 0
	}
	changed := w.publish(v)
	if recovered := w.succeeded(); changed || recovered {
		w.notify()
	}
	if w.o.polled() {
		return w.o.pause()
	}
	p.cursor = next(asked, got)
	moved := advanced(asked, got)
	switch {
	case changed && (moved || w.o.Equal != nil),
		time.Since(start) >= min(w.o.Wait/2, settled):
		p.idle = 0
		return 0
	case asked == Cursor{}:
		// Meant to be answered at once. The count stays: an agent whose index
		// jumps to and fro slows down like any other that brings nothing new.
		return 0
	}
	p.idle++
	most := maxIdleGap
	if moved {
		most = maxBusyGap
	}
	return jitter(backoff.Bound(minGap, most, p.idle))
}

// fetchInTime calls fetch under the client's own time limit.
func (w *Watch[T]) fetchInTime(ctx context.Context, cur Cursor, fetch Fetch[T]) (T, Cursor, error) {
	wait := w.o.Wait
	if cur == (Cursor{}) {
		wait = w.o.FirstWait
	}
	if w.o.polled() {
		wait = 0
	}
	limit := wait + wait/16 + grace // an agent adds up to a sixteenth itself
	ctx, stop := context.WithTimeoutCause(ctx, limit, errSilent)
	defer stop()
	ctx, interrupt := context.WithCancelCause(ctx)
	defer interrupt(nil)
	w.begin()
	w.interruptible(interrupt, cur)
	defer w.interruptible(nil, cur)

	v, got, err := fetch(ctx, cur, wait)
	if err == nil {
		return v, got, nil
	}
	switch cause := context.Cause(ctx); {
	case errors.Is(cause, errRefresh):
		err = errRefresh
	case errors.Is(cause, errSilent):
		err = fmt.Errorf("%w (%s): %w", errSilent, limit, err)
	}
	return v, got, err
}

// fetchApart asks on a goroutine of its own, whose stack goes with it: to decode
// an answer takes a deep one, and every watch at rest would keep it.
func (w *Watch[T]) fetchApart(ctx context.Context, cur Cursor, wait time.Duration) (v T, got Cursor, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		v, got, err = w.o.Fetch(ctx, cur, wait)
	}()
	<-done
	return v, got, err
}

func (w *Watch[T]) begin() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.begun++
}

// end lets go whoever waits for the end of a question.
func (w *Watch[T]) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.answered = w.begun
	if w.ended != nil {
		close(w.ended)
		w.ended = nil
	}
}

func (w *Watch[T]) interruptible(f context.CancelCauseFunc, cur Cursor) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.interrupt = nil
	switch {
	case f == nil || cur == (Cursor{}):
		// Nothing is open, or nothing that waits for a change: ended for each
		// Refresh, such a question would never be answered.
	case w.refresh:
		f(errRefresh) // asked for since the cursor was chosen
	default:
		w.interrupt = f
	}
}

// takeRefresh reports whether Refresh was called since the last question.
func (w *Watch[T]) takeRefresh() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	was := w.refresh
	w.refresh = false
	select {
	case <-w.wake:
	default:
	}
	return was
}

// sleep waits for d, or for no more than least once Refresh is called. It
// reports false when ctx is done.
func (w *Watch[T]) sleep(ctx context.Context, d, least time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	start := time.Now()
	t := time.NewTimer(d)
	defer t.Stop()
	wake, recovered := w.wake, recovery(w.Status().Err)
	for {
		select {
		case <-t.C:
			return true
		case <-ctx.Done():
			return false
		case <-recovered:
			// Many wait for this.
			t.Reset(min(max(d-time.Since(start), 0), max(least-time.Since(start), 0)+rand.N(spread)))
			recovered = nil
		case <-wake:
			t.Reset(max(least-time.Since(start), 0))
			wake, recovered = nil, nil
		}
	}
}

// recovery is closed once it is worth while to ask again after err, which was
// not the failure of one question alone; nil where there is no telling.
func recovery(err error) <-chan struct{} {
	var shared interface{ Recovered() <-chan struct{} }
	if errors.As(err, &shared) {
		return shared.Recovered()
	}
	return nil
}

// next applies the API's rules to the cursor of an answer.
func next(asked, got Cursor) Cursor {
	if got.Hash != "" {
		return got
	}
	switch {
	case got.Index < asked.Index:
		// The servers' state was restored or replaced: start over.
		return Cursor{}
	case got.Index == 0:
		// An index of 0 would be answered at once, for ever.
		return Cursor{Index: 1}
	}
	return got
}

// advanced reports that an answer is about a newer state than the one asked for.
func advanced(asked, got Cursor) bool {
	if asked == (Cursor{}) {
		return false
	}
	if got.Hash != "" {
		return got.Hash != asked.Hash
	}
	return got.Index > asked.Index
}

// backoff is full jitter: anything from nothing to the exponential bound, so
// that the proxies of one agent do not come back in step.
func (w *Watch[T]) backoff(failures int) time.Duration {
	return backoff.Wait(w.o.MinBackoff, w.o.MaxBackoff, failures, 1)
}

// jitter is d, give or take a tenth.
func jitter(d time.Duration) time.Duration {
	return d - d/10 + rand.N(d/5+1)
}
