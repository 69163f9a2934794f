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
	timeout := u.timeout(o)
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	c, err := u.dial(ctx, o, timeout)
	if err != nil {
		u.live.Add(-1)
	}
	return c, err
}

// dial has timeout for everything, of which ctx tells when it began.
func (u *Upstream) dial(ctx context.Context, o *Options, timeout time.Duration) (*Conn, error) {
	if o.Ready != nil {
		if err := o.Ready(ctx); err != nil {
			return nil, fmt.Errorf("dialling %s: %w", o.Name, err)
		}
	}
	u.use(ctx, timeout)
	if err := u.available(ctx, o); err != nil {
		return nil, err
	}
	s := search{u: u, o: o, timeout: timeout}
	return s.next(ctx)
}

// use has the agent's word confirmed if the destination has not been in use.
// Where it does not come in time, what was known before must do.
func (u *Upstream) use(ctx context.Context, timeout time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, min(maxConfirm, timeout/4))
	defer cancel()
	if !u.resolver.Use(ctx) {
		return
	}
	if s, ok := u.resolver.Set(); ok {
		u.apply(s) // rather than when follow gets to it
	}
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
