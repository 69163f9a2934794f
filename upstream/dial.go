package upstream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"
)

const (
	// maxAttempts bounds the instances that one Dial tries.
	maxAttempts = 16
	// shares is how many ways the time left is divided while there are other
	// instances to try.
	shares = 3
	// fairShare is the part of ConnectTimeout, one in so many, below which a
	// timeout says more about those tried before than about the instance.
	fairShare = 8
)

// Conn is a connection to an instance.
type Conn struct {
	net.Conn
	Endpoint Endpoint
	// Release says that the connection has ended: until then it counts. It may
	// be called more than once. It does not close the connection.
	Release func()
}

// lease is one connection in the counts.
type lease struct {
	conn Conn
	u    *Upstream
	in   *instance
	done atomic.Bool
}

func (l *lease) release() {
	if l.done.CompareAndSwap(false, true) {
		l.in.live.Add(-1)
		l.u.live.Add(-1)
	}
}

// Dial connects to an instance within ConnectTimeout and ctx. The error is
// ErrLimit, ErrNoEndpoints, Ready's or a *DialError. The caller owns the Conn
// and must call its Release.
func (u *Upstream) Dial(ctx context.Context) (*Conn, error) {
	o := u.options.Load()
	if n := u.live.Add(1); o.MaxConnections > 0 && n > int64(o.MaxConnections) {
		u.live.Add(-1)
		return nil, fmt.Errorf("dialling %s: %w (%d)", o.Name, ErrLimit, o.MaxConnections)
	}
	timeout := u.timeout(o)
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	c, err := u.dial(ctx, o, timeout)
	if err != nil {
		u.live.Add(-1)
	}
	return c, err
}

// timeout is for a Dial that begins now.
func (u *Upstream) timeout(o *Options) time.Duration {
	if o.ConnectTimeout > 0 {
		return o.ConnectTimeout
	}
	if p := u.picker.Load(); p != nil && p.timeout > 0 {
		return p.timeout
	}
	return DefaultConnectTimeout
}

// dial has timeout for everything, of which ctx tells when it began.
func (u *Upstream) dial(ctx context.Context, o *Options, timeout time.Duration) (*Conn, error) {
	if o.Ready != nil {
		if err := o.Ready(ctx); err != nil {
			return nil, fmt.Errorf("dialling %s: %w", o.Name, err)
		}
	}
	if err := u.available(ctx, o); err != nil {
		return nil, err
	}
	var (
		space    [maxAttempts]*instance
		not      = tried(space[:0])
		attempts []Attempt
	)
	for len(not) < maxAttempts && ctx.Err() == nil {
		now := u.now()
		p := u.current(now)
		c, ok := u.pick(p, o.Balance, not, now)
		if !ok {
			break
		}
		not = append(not, c.instance)
		conn, err := u.attempt(ctx, o, c, len(p.all)-len(not), timeout/fairShare)
		if err == nil {
			l := &lease{u: u, in: c.instance}
			l.conn = Conn{Conn: conn, Endpoint: c.ep, Release: l.release}
			return &l.conn, nil
		}
		attempts = append(attempts, Attempt{
			Instance: c.ep.ID, Address: c.ep.Address, Err: err, Duration: time.Duration(u.now() - c.start),
		})
	}
	if len(attempts) == 0 && ctx.Err() == nil {
		return nil, u.noEndpoints(o, nil) // the last instance has just gone
	}
	return nil, &DialError{Upstream: o.Name, Attempts: attempts, Cause: ctx.Err()}
}

// attempt tries the instance that c claims, within a share of the time if there
// are others to try. With less time than fair it gets no blame.
func (u *Upstream) attempt(ctx context.Context, o *Options, c claim, others int, fair time.Duration) (net.Conn, error) {
	deadline, _ := ctx.Deadline()
	bound := time.Until(deadline)
	one := ctx
	if others > 0 {
		bound /= time.Duration(min(others+1, shares))
		var cancel context.CancelFunc
		one, cancel = context.WithTimeout(ctx, bound)
		defer cancel()
	}
	conn, err := o.Dial(one, c.ep)
	if err == nil {
		u.succeeded(c)
		return conn, nil
	}
	c.live.Add(-1)
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		c.abandoned() // the client went away
	case one.Err() != nil && bound < fair:
		c.abandoned() // what was left of the time was not enough to tell
	default:
		u.failed(c, o, err)
	}
	return nil, err
}

// available waits for the first set and says why there is nothing to dial.
func (u *Upstream) available(ctx context.Context, o *Options) error {
	p := u.picker.Load()
	if p == nil {
		select {
		case <-u.known:
		case <-ctx.Done():
			return u.noEndpoints(o, ctx.Err())
		}
		p = u.picker.Load()
	}
	if len(p.all) == 0 {
		return u.noEndpoints(o, nil)
	}
	if o.MaxStale > 0 {
		if s := u.resolver.Status(); s.Err != nil && time.Since(s.Fresh) > o.MaxStale {
			return fmt.Errorf("dialling %s: %w: the agent was last heard %s ago, the limit is %s: %w",
				o.Name, ErrNoEndpoints, time.Since(s.Fresh).Round(time.Second), o.MaxStale, s.Err)
		}
	}
	return nil
}

// noEndpoints says in one line what the operator should look at.
func (u *Upstream) noEndpoints(o *Options, cause error) error {
	status := u.resolver.Status()
	p := u.picker.Load()
	switch {
	case p == nil && status.Err != nil:
		return fmt.Errorf("dialling %s: %w: the agent has not named any yet: %w: %w", o.Name, ErrNoEndpoints, cause, status.Err)
	case p == nil:
		return fmt.Errorf("dialling %s: %w: the agent has not named any yet: %w", o.Name, ErrNoEndpoints, cause)
	case p.reason != "":
		return fmt.Errorf("dialling %s: %w: %s", o.Name, ErrNoEndpoints, p.reason)
	case p.filtered:
		return fmt.Errorf("dialling %s: %w: the token may not read them all (service:read on the service and its proxy, node:read)", o.Name, ErrNoEndpoints)
	}
	return fmt.Errorf("dialling %s: %w: the agent shows none that is healthy and has a Connect proxy, or hides it from the token (service:read, node:read)", o.Name, ErrNoEndpoints)
}
