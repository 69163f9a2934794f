package upstream

import (
	"context"
	"fmt"
	"time"
)

// maxConfirm is how long the first connection after a rest waits for the agent's
// word.
const maxConfirm = time.Second

// Dial connects to an instance within ConnectTimeout and ctx. The error is
// ErrLimit, ErrNoEndpoints, Ready's or a *DialError. The caller owns the Conn
// and must call its Release.
func (u *Upstream) Dial(ctx context.Context) (*Conn, error) {
	o := u.options.Load()
	if n := u.live.Add(1); o.MaxConnections > 0 && n > int64(o.MaxConnections) {
		u.live.Add(-1)
		return nil, fmt.Errorf("dialling %s: %w (%d)", o.Name, ErrLimit, o.MaxConnections)
	}
	c, err := u.dial(ctx, o)
	if err != nil {
		u.live.Add(-1)
	}
	return c, err
}

// dial has the destination's own timeout for everything, which may be known only
// once the agent has been heard.
func (u *Upstream) dial(ctx context.Context, o *Options) (*Conn, error) {
	start, timeout := time.Now(), u.timeout(o)
	bounded, cancel := boundedBy(ctx, start.Add(timeout))
	defer cancel()
	if err := u.prepare(bounded, o, timeout); err != nil {
		return nil, err
	}
	s := search{u: u, o: o, timeout: u.timeout(o)}
	if s.timeout != timeout {
		bounded, cancel = boundedBy(ctx, start.Add(s.timeout))
		defer cancel()
	}
	return s.next(bounded)
}

// boundedBy is context.WithDeadline, without a context more where ctx ends no later
// by itself.
func boundedBy(ctx context.Context, deadline time.Time) (context.Context, context.CancelFunc) {
	if own, ok := ctx.Deadline(); ok && !own.After(deadline) {
		return ctx, func() {}
	}
	return context.WithDeadline(ctx, deadline)
}

// prepare waits for all that an instance can be picked and dialled by.
func (u *Upstream) prepare(ctx context.Context, o *Options, timeout time.Duration) error {
	if o.Ready != nil {
		if err := o.Ready(ctx); err != nil {
			return fmt.Errorf("dialling %s: %w", o.Name, err)
		}
	}
	u.use(ctx, timeout)
	return u.available(ctx, o)
}

// use has the set confirmed if the destination has not been in use. Where that
// takes too long, what was known before must do.
func (u *Upstream) use(ctx context.Context, timeout time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, min(maxConfirm, timeout/4))
	defer cancel()
	u.resolver.Use(ctx)
}

// timeout is for a Dial that begins now.
func (u *Upstream) timeout(o *Options) time.Duration {
	if o.ConnectTimeout > 0 {
		return o.ConnectTimeout
	}
	if s, _ := u.resolver.Set(); s.ConnectTimeout > 0 {
		return s.ConnectTimeout
	}
	return DefaultConnectTimeout
}

// available waits for the first set and returns why there is nothing to dial.
func (u *Upstream) available(ctx context.Context, o *Options) error {
	p := u.instancesNow()
	if p == nil {
		select {
		case <-u.known:
		case <-ctx.Done():
			return u.noEndpoints(o, ctx.Err())
		}
		p = u.instancesNow()
	}
	if len(p.all) == 0 {
		return u.noEndpoints(o, nil)
	}
	if o.MaxStale > 0 {
		if s := u.resolver.Status(); s.Err != nil && time.Since(s.Fresh) > o.MaxStale && time.Since(s.Failing) > o.MaxStale {
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
		return fmt.Errorf("dialling %s: %w: none is known yet: %w: %w", o.Name, ErrNoEndpoints, cause, status.Err)
	case p == nil:
		return fmt.Errorf("dialling %s: %w: none is known yet: %w", o.Name, ErrNoEndpoints, cause)
	case p.set.Reason != "":
		return fmt.Errorf("dialling %s: %w: %s", o.Name, ErrNoEndpoints, p.set.Reason)
	case p.set.Filtered:
		return fmt.Errorf("dialling %s: %w: the token may not read them all (service:read on the service and its proxy, node:read)", o.Name, ErrNoEndpoints)
	}
	return fmt.Errorf("dialling %s: %w: the agent shows none that is healthy and has a Connect proxy, or hides it from the token (service:read, node:read)", o.Name, ErrNoEndpoints)
}
