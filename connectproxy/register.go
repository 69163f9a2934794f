package connectproxy

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/go-hclog"

	"connect-proxy/config"
	"connect-proxy/connectproxy/watch"
)

const (
	// registerTTL is how long the agent takes the proxy at its last word. A
	// third of it passes between two reports, so that one may be lost.
	registerTTL   = 30 * time.Second
	registerEvery = registerTTL / 3
	// registerCall bounds one request; deregisterWait bounds the last one,
	// which a supervisor is waiting for.
	registerCall   = 10 * time.Second
	deregisterWait = 3 * time.Second
)

// RegisterOptions say how the proxy registers itself with the agent.
type RegisterOptions struct {
	// ID and Name are the proxy service's. Both are required.
	ID, Name string
	// Address is what other proxies dial; empty means the node's address.
	Address string
	// Port is the public port that other proxies dial. Zero takes the port of
	// the public listener.
	Port int
}

// validate names the first thing missing.
func (o *RegisterOptions) validate() error {
	switch {
	case o.ID == "":
		return errors.New("registering needs an ID for the proxy service")
	case o.Name == "":
		return errors.New("registering needs a name for the proxy service")
	}
	return nil
}

// registration is what the agent is told of a proxy that runs by c.
func (o *RegisterOptions) registration(c *config.Config) *api.AgentServiceRegistration {
	reg := &api.AgentServiceRegistration{
		Kind:      api.ServiceKindConnectProxy,
		ID:        o.ID,
		Name:      o.Name,
		Address:   o.Address,
		Port:      o.Port,
		Namespace: c.Namespace,
		Partition: c.Partition,
		Proxy: &api.AgentServiceConnectProxyConfig{
			DestinationServiceName: c.Service,
			DestinationServiceID:   c.ServiceID,
		},
	}
	if c.Public == nil {
		return reg
	}
	if reg.Port == 0 {
		reg.Port = c.Public.Bind.Port
	}
	if local := c.Public.Local; local.Path == "" {
		reg.Proxy.LocalServiceAddress = local.Host
		reg.Proxy.LocalServicePort = local.Port
	}
	return reg
}

// readiness is what a health check says.
type readiness struct {
	ready   bool
	reasons []string
}

// registrar keeps the proxy registered for as long as it runs.
type registrar struct {
	client  *api.Client
	options RegisterOptions
	logger  hclog.Logger
	// config is the configuration in force, nil before the first; state is
	// what the check has to say. Both are safe for concurrent use.
	config func() *config.Config
	state  func() readiness
	// wake is told that either may have changed.
	wake <-chan struct{}

	asked   bool                          // the agent may hold a registration
	held    *api.AgentServiceRegistration // as the agent last took it
	told    readiness                     // what the check last said
	failing bool
	retry   backoff
}

// run registers, reports, and when ctx is done deregisters.
func (r *registrar) run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			if r.asked {
				r.deregister(ctx)
			}
			return ctx.Err()
		case <-r.wake:
			if !r.news() {
				continue
			}
		case <-timer.C:
		}
		timer.Reset(r.round(ctx))
	}
}

// news says whether the agent should be told something now. While it does not
// listen, the back-off decides and not the news.
func (r *registrar) news() bool {
	c := r.config()
	return c != nil && !r.failing &&
		!(reflect.DeepEqual(r.held, r.options.registration(c)) && reflect.DeepEqual(r.told, r.state()))
}

// round brings the agent up to date and says when to do so again.
func (r *registrar) round(ctx context.Context) time.Duration {
	c := r.config()
	if c == nil {
		return registerEvery
	}
	want, now := r.options.registration(c), r.state()
	r.asked = true
	if err := r.tell(ctx, want, reflect.DeepEqual(r.held, want), now); err != nil {
		wait := r.retry.next()
		if !r.failing && ctx.Err() == nil {
			r.logger.Warn("cannot register with the agent", "service", r.options.ID,
				"error", watch.Explain(needs(err, "service:write", r.options.Name)), "retry_in", wait.String())
		}
		r.failing = true
		return wait
	}
	if r.held == nil || r.failing {
		r.logger.Info("registered with the agent", "service", r.options.ID)
	}
	r.held, r.told, r.failing = want, now, false
	r.retry.reset()
	return registerEvery
}

// tell reports now, after a registration where the agent does not hold want.
// An agent that lost its data answers a report with an error whose status
// differs between versions (404, 500), so any answer but a good one leads to a
// new registration, which does no harm where it was not needed.
func (r *registrar) tell(ctx context.Context, want *api.AgentServiceRegistration, known bool, now readiness) error {
	if known {
		err := r.report(ctx, now)
		var status api.StatusError
		if !errors.As(err, &status) {
			return err
		}
	}
	return r.register(ctx, want, now)
}

func (r *registrar) register(ctx context.Context, want *api.AgentServiceRegistration, now readiness) error {
	ctx, cancel := context.WithTimeout(ctx, registerCall)
	defer cancel()
	full := *want
	full.Check = &api.AgentServiceCheck{
		CheckID: r.checkID(),
		Name:    "Connect proxy readiness",
		TTL:     registerTTL.String(),
		Status:  now.status(),
	}
	if err := r.client.Agent().ServiceRegisterOpts(&full, api.ServiceRegisterOpts{}.WithContext(ctx)); err != nil {
		return err
	}
	// The registration carries a status and no words.
	return r.report(ctx, now)
}

func (r *registrar) report(ctx context.Context, now readiness) error {
	ctx, cancel := context.WithTimeout(ctx, registerCall)
	defer cancel()
	q := (&api.QueryOptions{}).WithContext(ctx)
	return r.client.Agent().UpdateTTLOpts(r.checkID(), now.output(), now.status(), q)
}

// deregister runs after ctx is done, for a bounded time.
func (r *registrar) deregister(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), deregisterWait)
	defer cancel()
	q := (&api.QueryOptions{}).WithContext(ctx)
	if err := r.client.Agent().ServiceDeregisterOpts(r.options.ID, q); err != nil {
		r.logger.Warn("proxy stays registered", "service", r.options.ID,
			"error", watch.Explain(needs(err, "service:write", r.options.Name)))
		return
	}
	r.logger.Info("deregistered from the agent", "service", r.options.ID)
}

func (r *registrar) checkID() string { return r.options.ID + "-readiness" }

func (s readiness) status() string {
	if s.ready {
		return api.HealthPassing
	}
	return api.HealthCritical
}

func (s readiness) output() string {
	if s.ready {
		return "ready"
	}
	return "not ready: " + strings.Join(s.reasons, "; ")
}
