package watch

import (
	"errors"
	"time"
)

// complainEvery is how often a streak of failures is logged while it lasts.
const complainEvery = time.Minute

// Status says how well a Watch is doing.
type Status struct {
	// Name is Options.Name.
	Name string
	// Has reports that there is a value.
	Has bool
	// Err is why the last request brought nothing; nil when it did.
	Err error
	// Fresh is the last time at which the value was known to be the agent's:
	// now while a blocking question stands and none has failed, the time of the
	// last answer where the agent is polled, zero without a value. Its distance
	// to now is the value's age.
	Fresh time.Time
	// Failures counts the requests that failed since the last good one.
	Failures int
	// Failing is when the first of them did; zero without one.
	Failing time.Time
}

// health is the part of a Watch's state that Status and the logs are made of.
type health struct {
	running  bool
	err      error
	failures int
	fresh    time.Time // see Status.Fresh, but for the time that runs on
	since    time.Time // when this streak of failures began, or the last ended

	complained time.Time // when a failure was last logged for all to see
	told       bool      // and no recovery since
}

// Status returns a snapshot.
func (w *Watch[T]) Status() Status {
	w.mu.Lock()
	defer w.mu.Unlock()
	h := &w.health
	s := Status{Name: w.o.Name, Err: h.err, Fresh: h.fresh, Failures: h.failures, Has: !h.fresh.IsZero()}
	switch {
	case h.failures > 0:
		s.Failing = h.since
	case s.Has && h.running && !w.o.polled():
		s.Fresh = time.Now()
	}
	return s
}

// succeeded takes note of an answer, and reports whether it ends a streak of
// failures.
func (w *Watch[T]) succeeded() (recovered bool) {
	now := time.Now()
	w.mu.Lock()
	was := w.health
	h := &w.health
	h.running, h.err, h.failures, h.fresh = true, nil, 0, now
	if was.failures > 0 {
		h.since, h.told = now, false
	}
	w.mu.Unlock()
	if was.failures > 0 && was.told {
		w.o.Logger.Info("agent answers again", "watch", w.o.Name,
			"failures", was.failures, "duration", now.Sub(was.since).Round(time.Millisecond).String())
	}
	return was.failures > 0
}

// failed takes note of an error of the request that began at start, and reports
// whether it is the first of a streak.
func (w *Watch[T]) failed(err error, start time.Time, retryIn time.Duration) (first bool) {
	err = Explain(err)
	log := w.o.Logger.Debug
	first, loud := w.noteFailure(err, start, time.Now())
	if loud {
		log = w.o.Logger.Warn
	}
	log(happened(err), "watch", w.o.Name, "error", err,
		"retry_in", retryIn.Round(time.Millisecond).String())
	return first
}

// noteFailure reports whether the failure is the first of a streak, and whether
// it is worth a line: the first is, and one each minute. A streak that follows on a moment's health
// goes on where the last one ended, or an agent that fails every other question
// would fill the log.
func (w *Watch[T]) noteFailure(err error, start, now time.Time) (first, loud bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	h := &w.health
	first = h.failures == 0
	if first {
		loud = now.Sub(h.since) >= settled
		h.since = now
		// Until it broke, an open question vouched for the value; one that
		// nobody answered did not.
		if !h.fresh.IsZero() && !w.o.polled() {
			h.fresh = now
			if errors.Is(err, errSilent) {
				h.fresh = start
			}
		}
	}
	h.failures++
	h.err = err
	// A failure of all questions together is logged by who sees them all.
	loud = (loud || now.Sub(h.complained) >= complainEvery) && recovery(err) == nil
	if loud {
		h.complained, h.told = now, true
	}
	return first, loud
}

// stopped ends the time for which an open question vouches for the value.
func (w *Watch[T]) stopped() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if h := &w.health; h.running && h.failures == 0 && !w.o.polled() {
		h.fresh = time.Now()
	}
	w.health.running = false
}
