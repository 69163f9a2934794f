package register

import (
	"context"
	"errors"
	"net/http"
	"reflect"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/go-hclog"

	"connect-proxy/config"
	"connect-proxy/upstream/backoff"
	"connect-proxy/upstream/watch"
)

const (
	// checkTTL is how long the agent believes the last report. A
	// third of it passes between two reports, so that one may be lost.
	checkTTL       = 30 * time.Second
	reportInterval = checkTTL / 3
	// requestTimeout bounds one request; deregisterTimeout bounds the last one,
	// which a supervisor is waiting for.
	requestTimeout    = 10 * time.Second
	deregisterTimeout = 3 * time.Second
)

// Options say as what the proxy registers itself with the agent.
type Options struct {
	// ID and Name are the proxy service's. Both are required.
	ID, Name string
	// Address is what other proxies dial; empty means the node's address.
	Address string
	// Port is the public port that other proxies dial. Zero takes the port of
	// the public listener.
	Port int
	// ApplicationID is the ID as which the application is registered where the
	// configuration says so; empty means that service's own ID or name.
	ApplicationID string
}

// Validate names the first thing missing.
func (o *Options) Validate() error {
	switch {
	case o.ID == "":
		return errors.New("registering needs an ID for the proxy service")
	case o.Name == "":
		return errors.New("registering needs a name for the proxy service")
	}
	return nil
}

// Readiness is what the check says.
type Readiness struct {
	// Ready is set while the proxy serves as it should.
	Ready bool
	// Reasons why not, a sentence each.
	Reasons []string
}

// Subject describes the proxy that is registered. The functions must be safe for
// concurrent use and not block.
type Subject struct {
	// Config is the configuration in force, nil before the first.
	Config func() *config.Config
	// Readiness is what the check has to say.
	Readiness func() Readiness
	// Application is what the application's check has to say, where it is
	// registered; nil says that it is ready.
	Application func() Readiness
}

// Registrar keeps the proxy registered for as long as it runs, and the application
// behind it where the configuration says so.
type Registrar struct {
	client  *api.Client
	options Options
	subject Subject
	logger  hclog.Logger
	wake    chan struct{} // holds one call

	proxy, application registered
	failing            bool
	retry              backoff.Backoff
}

// New makes a Registrar and starts nothing. An error names what is missing.
func New(c *api.Client, o Options, s Subject, l hclog.Logger) (*Registrar, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	if l == nil {
		l = hclog.NewNullLogger()
	}
	return &Registrar{client: c, options: o, subject: s, logger: l, wake: make(chan struct{}, 1)}, nil
}

// Wake has the registrar look now whether there is something to tell the agent.
// It does not block.
func (r *Registrar) Wake() {
	select {
	case r.wake <- struct{}{}:
	default: // it will look anyway
	}
}

// Run registers, reports, and when ctx is done deregisters and returns ctx's
// error. It must be called once.
func (r *Registrar) Run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			r.deregister(ctx)
			return ctx.Err()
		case <-r.wake:
			if !r.changed() {
				continue
			}
		case <-timer.C:
		}
		timer.Reset(r.round(ctx))
	}
}

// changed reports whether the agent should learn of something now. While it does
// not answer, the back-off decides.
func (r *Registrar) changed() bool {
	c := r.subject.Config()
	if c == nil || r.failing {
		return false
	}
	for _, w := range r.wanted(c) {
		if w.has.changed(w) {
			return true
		}
	}
	return false
}

// round brings the agent up to date and says when to do so again.
func (r *Registrar) round(ctx context.Context) time.Duration {
	c := r.subject.Config()
	if c == nil {
		return reportInterval
	}
	if err := r.update(ctx, r.wanted(c)); err != nil {
		wait := r.retry.Next()
		if !r.failing && ctx.Err() == nil {
			r.logger.Warn("cannot register with the agent", "service", r.options.ID, "error", watch.Explain(err), "retry_in", wait.String())
		}
		r.failing = true
		return wait
	}
	r.failing = false
	r.retry.Reset()
	return reportInterval
}

// update brings every registration up to date.
func (r *Registrar) update(ctx context.Context, all []wanted) error {
	for _, w := range all {
		first := w.has.as == nil || r.failing
		if err := r.updateOne(ctx, w); err != nil {
			return watch.Needs(err, "service:write", w.name())
		}
		if first && w.as != nil {
			r.logger.Info("registered with the agent", "service", w.as.ID)
		}
	}
	return nil
}

// updateOne reports now, after a registration where the agent does not hold what
// is wanted. An agent that lost its data answers a report with an error whose
// status differs between versions (404, 500), so any answer but a good one leads to
// a new registration, which does no harm where it was not needed.
func (r *Registrar) updateOne(ctx context.Context, w wanted) error {
	if gone := w.has.as; gone != nil && (w.as == nil || w.as.ID != gone.ID) {
		if err := r.remove(ctx, gone.ID); err != nil {
			return err
		}
		*w.has = registered{}
	}
	if w.as == nil {
		return nil
	}
	if w.has.as != nil && reflect.DeepEqual(w.has.as, w.as) {
		err := r.updateTTL(ctx, w)
		var status api.StatusError
		if err == nil {
			w.has.said = w.now
		}
		if !errors.As(err, &status) {
			return err
		}
	}
	w.has.asked = w.as
	if err := r.register(ctx, w); err != nil {
		return err
	}
	w.has.as, w.has.said = w.as, w.now
	return nil
}

func (r *Registrar) register(ctx context.Context, w wanted) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	full := *w.as
	full.Check = &api.AgentServiceCheck{
		CheckID: w.checkID(),
		Name:    w.check,
		TTL:     checkTTL.String(),
		Status:  w.now.status(),
	}
	if err := r.client.Agent().ServiceRegisterOpts(&full, api.ServiceRegisterOpts{}.WithContext(ctx)); err != nil {
		return err
	}
	// The registration carries a status and no words.
	return r.updateTTL(ctx, w)
}

func (r *Registrar) updateTTL(ctx context.Context, w wanted) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	q := (&api.QueryOptions{}).WithContext(ctx)
	return r.client.Agent().UpdateTTLOpts(w.checkID(), w.now.output(), w.now.status(), q)
}

func (r *Registrar) remove(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	q := (&api.QueryOptions{}).WithContext(ctx)
	err := r.client.Agent().ServiceDeregisterOpts(id, q)
	var status api.StatusError
	if errors.As(err, &status) && status.Code == http.StatusNotFound {
		return nil // it has gone already
	}
	return err
}

// deregister runs after ctx is done, for a bounded time.
func (r *Registrar) deregister(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), deregisterTimeout)
	defer cancel()
	for _, h := range []registered{r.proxy, r.application} {
		if h.asked == nil {
			continue
		}
		if err := r.remove(ctx, h.asked.ID); err != nil {
			r.logger.Warn("service stays registered", "service", h.asked.ID,
				"error", watch.Explain(watch.Needs(err, "service:write", h.asked.Name)))
			continue
		}
		r.logger.Info("deregistered from the agent", "service", h.asked.ID)
	}
}

func (s Readiness) status() string {
	if s.Ready {
		return api.HealthPassing
	}
	return api.HealthCritical
}

func (s Readiness) output() string {
	if s.Ready {
		return "ready"
	}
	return "not ready: " + strings.Join(s.Reasons, "; ")
}
