package connectproxy

import (
	"context"
	"errors"
	"time"

	"connect-proxy/connectproxy/mtls"
	"connect-proxy/listener"
	"connect-proxy/listener/secure"
	"connect-proxy/upstream"
	"connect-proxy/upstream/watch"
)

// destination is where the connections of an upstream listener go.
type destination struct {
	resolver  *sharedResolver
	principal *principal // for whom it is dialled
	up        *upstream.Upstream
}

// startDestination opens what o and r lead to. It releases r when it is closed,
// and where it returns an error.
func startDestination(r *sharedResolver, as *principal, o upstream.Options) (*destination, error) {
	up, err := upstream.New(dialling(o, r, as))
	if err != nil {
		r.release()
		return nil, err
	}
	return &destination{resolver: r, principal: as, up: up}, nil
}

// update puts other settings in force for the same destination.
func (d *destination) update(o upstream.Options) { d.up.Update(dialling(o, d.resolver, d.principal)) }

// dialling adds to the settings of an upstream how its instances are found and
// dialled.
func dialling(o upstream.Options, r *sharedResolver, as *principal) upstream.Options {
	o.Resolver = r
	o.Ready, o.Dial, o.Client = as.await, as.dial, listener.ClientAddr
	return o
}

// dial opens a connection to an instance, under the reason that the listener is
// to count a failure by.
func (d *destination) dial(ctx context.Context) (listener.Target, error) {
	c, err := d.up.Dial(ctx)
	return d.target(c, err)
}

// target returns what a listener needs of a connection to an instance.
func (d *destination) target(c *upstream.Conn, err error) (listener.Target, error) {
	if err != nil {
		return listener.Target{}, withReason(err)
	}
	return listener.Target{
		Conn: c.Conn,
		Instance: listener.Instance{
			Address:  c.Endpoint.Address,
			ID:       c.Endpoint.ID,
			Attempts: c.Attempts(),
			Session:  d.principal.session(c.Conn),
		},
		Release:  c.Release,
		Answered: c.Answered,
		Failed:   c.Failed,
		Next: func(ctx context.Context, why secure.Refusal, err error) (listener.Target, error) {
			return d.target(c.Next(ctx, mtls.Refused(why, err)))
		},
	}, nil
}

// withReason gives a dial's error its reason: a refusal or a wrong identity must
// never look like an instance that is down, and a client that has gone like none of
// them.
func withReason(err error) error {
	switch {
	case errors.Is(err, context.Canceled):
		return listener.WithReason(listener.ReasonClientReset, err)
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

func (d *destination) close() {
	d.up.Close()
	d.resolver.release()
}

// status returns what there is behind it.
func (d *destination) status(now time.Time) *UpstreamStatus {
	have := d.up.Status()
	s := &UpstreamStatus{
		DestinationType: d.resolver.route.Type,

		Balance:     have.Balance,
		Live:        have.Live,
		Connected:   have.Connected,
		Failures:    have.Failures,
		SetAsideFor: have.SetAside,
		Resolver:    watch.Status(have.Resolver).Freshness(now),
		Instances:   []InstanceStatus{},
	}
	for _, n := range have.SetAside {
		s.SetAside += n
	}
	for _, in := range have.Instances {
		i := InstanceStatus{ID: in.ID, Address: in.Address, Live: in.Live, Failures: in.Failures}
		if !in.SetAside.IsZero() {
			i.SetAside = true
			i.SetAsideSeconds = max(0, watch.Seconds(in.SetAside.Sub(now)))
		}
		if in.Err != nil {
			i.Error = in.Err.Error()
		}
		s.Instances = append(s.Instances, i)
	}
	return s
}

// startDestination opens where s leads to. It returns nil if that cannot be, and
// keeps the reason.
func (l *loop) startDestination(base context.Context, s *spec) *destination {
	var d *destination
	r, err := l.resolvers.acquire(base, routeOf(s.upstream))
	if err == nil {
		d, err = startDestination(r, l.principal(s.identity), l.upstreamOptions(s))
	}
	if err == nil {
		delete(l.openProblems, s.key)
		return d
	}
	if text := err.Error(); l.openProblems[s.key] != text {
		l.openProblems[s.key] = text
		l.logger.Error("cannot open upstream", "upstream", s.name, "error", err)
	}
	return nil
}

func (p *Proxy) upstreamOptions(s *spec) upstream.Options {
	o := s.upstreamOptions()
	o.Logger = p.logger
	return o
}
