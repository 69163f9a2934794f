package queue

import (
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"connect-proxy/upstream/backoff"
)

const (
	minBackoff = 250 * time.Millisecond
	// MaxBackoff bounds the time for which an agent that cannot be reached is
	// left alone.
	MaxBackoff = 5 * time.Second
	// complainEvery is how often an outage is logged while it lasts.
	complainEvery = time.Minute
	// tryAlone is how long a question that is to tell whether the agent can be
	// reached goes alone. The agent may hold it until something changes.
	tryAlone = time.Second
)

// Unreachable is the error of a question that the agent could not be asked.
type Unreachable struct {
	// Err is what went wrong, maybe with an earlier question.
	Err       error
	recovered <-chan struct{}
}

// Error is Err's.
func (e *Unreachable) Error() string { return e.Err.Error() }

// Unwrap returns Err.
func (e *Unreachable) Unwrap() error { return e.Err }

// Recovered is closed once the agent has answered a question again.
func (e *Unreachable) Recovered() <-chan struct{} { return e.recovered }

// outage is whether the agent can be reached, for all questions together.
type outage struct {
	logger hclog.Logger

	mu       sync.Mutex // guards what follows
	err      error      // nil while the agent answers
	begun    uint64     // outages
	failures int
	since    time.Time // when it began
	retryAt  time.Time
	tryingAt time.Time // when a question was let through that will tell; zero without one
	// recovered is closed when the agent answers again; nil while it does.
	recovered  chan struct{}
	complained time.Time
	told       bool // and its end was not
}

// admit reports whether a question may be put. It fails while the agent is to be
// left alone. A question let through as one that tries must end with a
// report.
func (o *outage) admit(now time.Time) (trying bool, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.err == nil:
		return false, nil
	case now.Before(o.retryAt), !o.tryingAt.IsZero() && now.Sub(o.tryingAt) < tryAlone:
		return false, &Unreachable{Err: o.err, recovered: o.recovered}
	}
	o.tryingAt = now
	return true, nil
}

// abandoned ends a question that was let through to try and told nothing.
func (o *outage) abandoned() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.tryingAt = time.Time{}
}

// answered takes note that the agent can be reached.
func (o *outage) answered(now time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err == nil {
		return
	}
	if o.told {
		o.logger.Info("agent answers again", "failures", o.failures, "duration", now.Sub(o.since).Round(time.Millisecond).String())
	}
	close(o.recovered)
	o.err, o.failures, o.recovered, o.tryingAt, o.told = nil, 0, nil, time.Time{}, false
}

// failed takes note that the agent could not be reached, and returns the error
// to hand on. Questions that were under way together count as one failure.
func (o *outage) failed(err error, trying bool, now time.Time) *Unreachable {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err == nil {
		o.since, o.recovered = now, make(chan struct{})
		o.begun++
	}
	first := o.err == nil
	o.err = err
	if first || trying {
		o.tryingAt = time.Time{}
		o.failures++
		o.retryAt = now.Add(backoff.Wait(minBackoff, MaxBackoff, o.failures, 0.75))
		if now.Sub(o.complained) >= complainEvery {
			o.complained, o.told = now, true
			o.logger.Warn("agent does not answer", "error", err, "failures", o.failures)
		}
	}
	return &Unreachable{Err: err, recovered: o.recovered}
}

func tooMany(body string) error {
	if body == "" {
		body = "no reason given"
	}
	return fmt.Errorf("the agent takes no more connections or questions for now (429: %s): if this lasts, raise its limits.http_max_conns_per_client", body)
}
