package connectproxy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"connect-proxy/config"
	"connect-proxy/upstream/watch"
)

// The loop looks at what changes without an event, such as the clock against the
// end of certificates, every restInterval, and every recheckInterval while the
// proxy is not ready or a listener is on its way out.
const (
	recheckInterval = time.Second
	restInterval    = 2 * time.Second
)

// loop is the one goroutine that changes what runs.
type loop struct {
	*Proxy
	state
	logged logged
	// waiting is a configuration that could be used but for files that cannot; nil
	// when there is none. It is tried again.
	waiting   *config.Config
	telemetry telemetry
	edge      edgeInForce
	// reclaimAt is when memory is to be given back; zero while there is no need.
	reclaimAt time.Time
	// proved wakes the loop when an identity can be proved for the first time. It
	// holds one call.
	proved chan struct{}
}

func newLoop(p *Proxy) *loop {
	return &loop{
		Proxy:  p,
		state:  state{started: time.Now(), listeners: map[key]*boundListener{}, openProblems: map[key]string{}},
		proved: make(chan struct{}, 1),
	}
}

// publish lets everyone else see the state.
func (l *loop) publish() { l.published.Store(l.copy(l.published.Load())) }

// run follows the configuration until ctx is done. What it starts runs until
// base is done, or is stopped.
func (l *loop) run(ctx, base context.Context, results <-chan sourceResult) error {
	tick := time.NewTimer(recheckInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case got := <-results:
			if err := l.receive(base, got); err != nil {
				return err
			}
		case <-l.proved:
		case <-tick.C:
			l.tryAgain(base)
		}
		l.reconcile(base)
		l.publish()
		l.announce()
		l.logChanges()
		l.reclaim()
		tick.Reset(watch.Coalesce(l.pace()))
	}
}

// pace is how soon the loop is to look again where nothing calls it before.
func (l *loop) pace() time.Duration {
	if l.logged.readiness.Ready && len(l.retired) == 0 && l.waiting == nil {
		return restInterval
	}
	return recheckInterval
}

// announce has Dial go by the first configuration.
func (l *loop) announce() {
	if l.config == nil {
		return
	}
	select {
	case <-l.configured:
	default:
		close(l.configured)
	}
}

// receive puts a configuration in force. Without one in force an error ends the
// proxy.
func (l *loop) receive(base context.Context, got sourceResult) error {
	var invalid *config.Invalid
	switch {
	case got.err == nil:
		l.waiting = nil
		if got.err = l.usable(got.config); got.err == nil {
			l.accept(base, got.config)
			return nil
		}
		if l.config == nil {
			return got.err
		}
		l.waiting = got.config
		l.logger.Error("configuration cannot be used; the last good one stays in force", "error", got.err)
	case l.config == nil:
		return got.err
	case errors.As(got.err, &invalid):
		l.waiting = nil
		l.logger.Error("configuration refused; the last good one stays in force", "error", got.err)
	default:
		return fmt.Errorf("following the configuration: %w", got.err)
	}
	l.configProblem = got.err.Error()
	return nil
}

// accept puts a configuration in force that can be used.
func (l *loop) accept(base context.Context, c *config.Config) {
	if l.configProblem != "" {
		l.logger.Info("configuration is valid again")
	}
	l.setConfig(base, c)
}

// tryAgain puts the configuration in force that waits, if it can be used by now.
func (l *loop) tryAgain(base context.Context) {
	if l.waiting == nil {
		return
	}
	err := l.usable(l.waiting)
	if err != nil {
		l.configProblem = err.Error()
		return
	}
	l.accept(base, l.waiting)
	l.waiting = nil
}

// setConfig makes c the configuration. Listeners follow in reconcile.
func (l *loop) setConfig(base context.Context, given *config.Config) {
	c := new(config.Config)
	*c = *given
	c.TLS = c.TLS.Override(l.o.TLS)
	c.AccessLog = c.AccessLog.Override(l.o.AccessLogConnections)
	c.Warnings = append(slices.Clip(c.Warnings), l.updateAccessLog(c.AccessLog)...)
	c.Warnings = append(c.Warnings, l.updateTelemetry(base, c.Telemetry)...)
	l.config, l.since, l.configProblem = c, time.Now(), ""
	l.health.Set(c.HealthCheckURL())
	l.setDesired(base, translate(c))
}

// setDesired makes d what is to run, and starts the identities it names.
func (l *loop) setDesired(base context.Context, d desired) {
	l.desired = d
	principals := make([]*principal, 0, len(l.desired.identities))
	for _, want := range l.desired.identities {
		p := l.principal(want.name)
		if p == nil {
			p = &principal{name: want.name}
		}
		p.want(want.IdentityOptions, func(o IdentityOptions) *runningIdentity {
			return startIdentity(base, l.o.Identity(o), o, l.wake)
		})
		principals = append(principals, p)
	}
	for _, p := range l.principals {
		if !slices.Contains(principals, p) {
			principals = append(principals, p) // until reconcile has closed what stands for it
		}
	}
	l.principals = principals
}

// wake has the loop look again at once.
func (l *loop) wake() {
	select {
	case l.proved <- struct{}{}:
	default:
	}
}

// drainTimeout is how long connections are waited for at exit.
func (l *loop) drainTimeout() time.Duration {
	switch {
	case l.o.DrainTimeout > 0:
		return l.o.DrainTimeout
	case l.config == nil || l.config.DrainTimeout <= 0:
		return config.DefaultDrainTimeout
	}
	return l.config.DrainTimeout
}

// close ends whatever still runs.
func (l *loop) close() {
	if l.o.InProcess != nil {
		_ = l.o.InProcess.Close()
	}
	for _, b := range l.all() {
		b.close()
	}
	l.relay.Close()
	l.dynamic.Close()
	for _, p := range l.principals {
		p.stop()
	}
	l.authorizer.stop()
	l.edge.stop()
	l.telemetry.stop() // which sends once more
	l.listeners, l.retired, l.principals, l.authorizer = nil, nil, nil, nil
	l.publish()
}
