package connectproxy

import (
	"context"
	"errors"
	"fmt"
	"time"

	"connect-proxy/listener"
	"connect-proxy/listener/secure"
	"connect-proxy/upstream"
)

// outlet is where the connections of an upstream listener go.
type outlet struct {
	resolver *sharedResolver
	up       *upstream.Upstream
	task     *task
}

func openOutlet(ctx context.Context, r *sharedResolver, o upstream.Options) (*outlet, error) {
	o.Resolver, o.Shared = r, true
	up, err := upstream.New(o)
	if err != nil {
		return nil, err
	}
	return &outlet{resolver: r, up: up, task: begin(ctx, up.Run)}, nil
}

// dial opens a connection to an instance, under the reason that the listener is
// to count a failure by.
func (o *outlet) dial(ctx context.Context) (listener.Target, error) {
	c, err := o.up.Dial(ctx)
	return target(c, err)
}

// target is what a listener needs of a connection to an instance.
func target(c *upstream.Conn, err error) (listener.Target, error) {
	if err != nil {
		return listener.Target{}, named(err)
	}
	return listener.Target{
		Conn:     c.Conn,
		Instance: listener.Instance{Address: c.Endpoint.Address, Session: listener.SessionInfo{Peer: peerOf(c.Conn)}},
		Release:  c.Release,
		Answered: c.Answered,
		Failed:   c.Failed,
		Next: func(ctx context.Context, why secure.Refusal, err error) (listener.Target, error) {
			mark := upstream.ErrUnavailable
			if why == secure.RefusedAccess {
				mark = upstream.ErrDenied
			}
			return target(c.Next(ctx, fmt.Errorf("%w: %w", mark, err)))
		},
	}, nil
}

// named gives a dial's error its reason: a refusal or a wrong identity must
// never look like an instance that is down.
func named(err error) error {
	switch {
	case errors.Is(err, upstream.ErrLimit):
		return listener.WithReason(listener.ReasonLimit, err)
	case errors.Is(err, upstream.ErrNoEndpoints):
		return listener.WithReason(listener.ReasonNoEndpoints, err)
	case errors.Is(err, upstream.ErrIdentity):
		return listener.WithReason(listener.ReasonUpstreamIdentity, err)
	case errors.Is(err, upstream.ErrClock):
		return listener.WithReason(listener.ReasonUpstreamClock, err)
	case errors.Is(err, upstream.ErrDenied):
		return listener.WithReason(listener.ReasonUpstreamDenied, err)
	case errors.Is(err, upstream.ErrUnavailable):
		return listener.WithReason(listener.ReasonUpstreamUnavailable, err)
	}
	return err
}

func (o *outlet) close() {
	o.task.stop()
	o.resolver.release()
}

// status says what there is behind it.
func (o *outlet) status(now time.Time) *UpstreamStatus {
	have := o.up.Status()
	s := &UpstreamStatus{
		Balance:   have.Balance,
		Live:      have.Live,
		Failures:  have.Failures,
		Resolver:  watchStatus(have.Resolver, now),
		Instances: []InstanceStatus{},
	}
	for _, in := range have.Instances {
		i := InstanceStatus{ID: in.ID, Address: in.Address, Live: in.Live, Failures: in.Failures}
		if !in.SetAside.IsZero() {
			i.SetAsideSeconds = max(0, seconds(in.SetAside.Sub(now)))
		}
		if in.Err != nil {
			i.Error = in.Err.Error()
		}
		s.Instances = append(s.Instances, i)
	}
	return s
}
