package dynamic

import (
	"context"
	"errors"
	"time"

	"connect-proxy/config"
)

// acquire returns the entry of d with one user more, once the agent has shown an
// instance of it. A Reset in the meantime costs the caller nothing but time: the
// destination is opened again with what is in force then.
func (u *Upstreams) acquire(ctx context.Context, d config.Destination) (*entry, error) {
	for {
		e, err := u.acquireOnce(ctx, d)
		if !errors.Is(err, errReset) {
			return e, err
		}
	}
}

func (u *Upstreams) acquireOnce(ctx context.Context, d config.Destination) (*entry, error) {
	e, err := u.join(d)
	switch {
	case err != nil:
		return nil, err
	case e != nil && isAnswered(e):
		return u.awaitAnswer(ctx, e)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, FirstAnswer, ErrUnanswered)
	defer cancel()
	if e == nil {
		select {
		case u.probing <- struct{}{}:
			e, err = u.begin(d)
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
	}
	if err != nil {
		return nil, err
	}
	return u.awaitAnswer(ctx, e)
}

func isAnswered(e *entry) bool {
	select {
	case <-e.Answered():
		return true
	default:
		return false
	}
}

// join returns the entry of d with one user more, or neither an entry nor an
// error where there is none.
func (u *Upstreams) join(d config.Destination) (*entry, error) {
	u.mu.Lock()
	defer u.unlock()
	return u.find(d)
}

// find is join with mu held.
func (u *Upstreams) find(d config.Destination) (*entry, error) {
	now := time.Now()
	e := u.entries[d]
	switch {
	case u.closed:
		return nil, ErrClosed
	case e != nil:
		e.users++
		e.used = now
		return e, nil
	case now.Before(u.absent[d]):
		return nil, ErrUnknown
	case !u.budget.left(now):
		return nil, ErrTooManyNames
	}
	return nil, nil
}

// begin is join, and has the agent asked about d where there is no entry. It takes
// the caller's token of probing over.
func (u *Upstreams) begin(d config.Destination) (*entry, error) {
	u.mu.Lock()
	defer u.unlock()
	e, err := u.find(d)
	if e != nil || err != nil { // another was faster
		<-u.probing
		return e, err
	}
	up, err := u.open(d)
	if err != nil {
		<-u.probing
		return nil, err
	}
	e = &entry{Upstream: up, to: d, users: 1, used: time.Now(), removed: make(chan struct{})}
	u.entries[d] = e
	return e, nil
}

// awaitAnswer waits until it is known whether anybody has e's name.
func (u *Upstreams) awaitAnswer(ctx context.Context, e *entry) (*entry, error) {
	var err error
	select {
	case <-e.Answered():
		err = u.keep(e)
	case <-e.removed:
		err = u.keep(e)
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	if err != nil {
		u.release(e)
		return nil, err
	}
	return e, nil
}
