package connectproxy

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/go-hclog"

	"connect-proxy/config"
	"connect-proxy/connectproxy/accesslog"
	"connect-proxy/connectproxy/admin"
	"connect-proxy/connectproxy/adminapi"
	"connect-proxy/connectproxy/agent"
	"connect-proxy/connectproxy/byname"
	"connect-proxy/connectproxy/events"
	"connect-proxy/connectproxy/healthcheck"
	"connect-proxy/connectproxy/metrics"
	"connect-proxy/connectproxy/micro"
	"connect-proxy/connectproxy/register"
	"connect-proxy/listener"
	"connect-proxy/listener/relay"
	"connect-proxy/upstream/catalog"
)

// Options describe one Proxy.
type Options struct {
	// Source says what to run. Required.
	Source config.Source
	// Client reaches the local agent. Nil means that there is none: a configuration
	// with something of Consul's in it cannot be used then, unless what follows
	// takes its place.
	Client *api.Client
	// Identity makes who the proxy is; it starts nothing. Nil means Consul's, by
	// Client, or what the configuration says in its place.
	Identity func(IdentityOptions) Identity
	// Authorizer makes what decides on callers; it starts nothing. Nil means as for
	// Identity.
	Authorizer func(AuthorizerOptions) Authorizer
	// Resolvers make what finds the instances of destinations, by their types,
	// beside what finds Consul's or in its place; they start nothing.
	Resolvers map[config.DestinationType]func(config.Destination) Resolver
	// Admin is the loopback address or unix:/path of the admin pages; empty means
	// none.
	Admin string
	// ReadyAlone are more loopback addresses, on which /ready alone is served, as
	// Envoy answers it.
	ReadyAlone []string
	// Events is the history of what Logger gets, for the admin pages; nil means that
	// these have none to show.
	Events *events.History
	// LogLevel is Logger's level, which the admin pages show and change; nil means
	// that they have none.
	LogLevel adminapi.Level
	// Version is the program's, for the admin pages.
	Version string
	// DrainTimeout overrides the configuration's where it is positive.
	DrainTimeout time.Duration
	// TLS overrides the configuration's where it says something.
	TLS config.TLS
	// AccessLog records connections as the configuration says; nil records none.
	// Its owner closes it after Run.
	AccessLog *accesslog.Log
	// AccessLogConnections overrides the configuration's where it says something.
	AccessLogConnections config.AccessLogConnections
	// InProcess is where the program accepts the connections of its callers, in
	// place of the configuration's local address; it is closed when Run ends. Nil
	// means that they are relayed there.
	InProcess *listener.InProcess
	// Observer is told of every connection; nil means nobody. It must not block.
	Observer listener.Observer
	// Register has the proxy register itself with the agent; nil means that it
	// does not.
	Register *register.Options
	// Pulse, if given, is told every few seconds, and when something has changed,
	// whether the proxy serves as it should, and why not. It is called by the loop
	// that keeps the proxy going, so that its absence means that this one hangs.
	// It must not block.
	Pulse func(ready bool, reasons []string)
	// Logger gets what operators want to know; nil means none.
	Logger hclog.Logger
	// LogDropped counts the lines that did not get into the log; nil means that
	// none is ever dropped.
	LogDropped func() uint64
	// MetricsNames says under which names /metrics shows connections; empty means
	// both this program's and Envoy's.
	MetricsNames metrics.Names
	// Agent says how the agent is reached; nil means that there is nothing to
	// say. It must not block.
	Agent func() agent.Status
}

// Proxy is a sidecar: it runs what its Source says.
type Proxy struct {
	o         Options
	logger    hclog.Logger
	admin     []*admin.Server
	registrar *register.Registrar  // nil without Options.Register
	health    *healthcheck.Checker // of the application, where it is registered
	catalog   *catalog.Catalog     // nil without Options.Client
	resolvers *resolvers
	dynamic   *dynamicUpstreams
	byName    *byname.Server
	micro     *micro.Server
	shown     http.Handler        // pages for applications of Micro
	events    *listener.InProcess // what other proxies bring for micro's subscribers
	public    *micro.PublicServer
	// registrations are the applications' of Micro, by micro.
	registrations *microRegistrar
	relay         *relay.Engine // moves the bytes of every listener
	metrics       *metrics.Metrics
	// usable returns why a valid configuration cannot be used here; nil if it can
	// be.
	usable func(*config.Config) error

	published atomic.Pointer[state] // the loop's latest; never nil
	notReadAt atomic.Int64          // when an admin page was last said not to be read
	// configured is closed once listeners of a first configuration are published,
	// ended when nothing more will be.
	configured, ended chan struct{}
}

// New makes a Proxy and starts nothing. An error names an option that is missing
// or wrong.
func New(o Options) (*Proxy, error) {
	switch {
	case o.Source == nil:
		return nil, errors.New("a proxy needs a source of configuration")
	case o.Client == nil && o.Register != nil:
		return nil, errors.New("a proxy that registers itself needs a client of the local agent")
	}
	for t, make := range o.Resolvers {
		if make == nil {
			return nil, fmt.Errorf("the resolver of destinations of type %q is missing", t)
		}
	}
	if mistakes := append(o.TLS.Validate(), o.AccessLogConnections.Validate()...); len(mistakes) > 0 {
		return nil, &config.Invalid{Mistakes: mistakes}
	}
	if o.Logger == nil {
		o.Logger = hclog.NewNullLogger()
	}
	p := &Proxy{logger: o.Logger, relay: relay.New(), configured: make(chan struct{}), ended: make(chan struct{})}
	p.metrics = metrics.New(metrics.Options{
		Version: o.Version, Facts: p.facts, Settings: p.metricSettings,
	})
	if o.Client != nil {
		p.catalog = catalog.New(catalog.Options{Client: o.Client, LocalDatacenter: p.datacenter, Logger: o.Logger})
	}
	p.resolvers = &resolvers{byType: p.resolversByType(o.Resolvers)}
	p.dynamic = newDynamicUpstreams(p)
	p.byName = p.newByName()
	p.health = healthcheck.New(p.wakeRegistrar, o.Logger)
	p.registrations = newMicroRegistrar(p)
	p.micro, p.public = p.newMicro(), p.newPublic()
	p.events = listener.NewInProcess()
	p.published.Store(&state{})
	p.usable = p.check(o)
	if o.Identity == nil {
		o.Identity = p.newIdentity
	}
	if o.Authorizer == nil {
		o.Authorizer = p.newAuthorizer
	}
	p.o = o
	var err error
	if o.Register != nil {
		if p.registrar, err = p.newRegistrar(*o.Register); err != nil {
			return nil, err
		}
	}
	if err := p.newAdmin(); err != nil {
		return nil, err
	}
	return p, nil
}

// Run is the proxy: it returns once everything it started has ended. When ctx
// is done it drains and returns nil. A first configuration that cannot be used
// ends it with a *config.Invalid; everything else that goes wrong is waited
// out. It must be called once.
func (p *Proxy) Run(ctx context.Context) error {
	// Connections are drained after ctx is done, so what serves them runs under
	// another context; ctx ends the loop alone.
	base, kill := context.WithCancel(context.WithoutCancel(ctx))
	defer kill()
	l := newLoop(p)
	l.publish()
	defer close(p.ended)

	var registrarTask, healthTask *task
	var adminTasks []*task
	for _, s := range p.admin {
		adminTasks = append(adminTasks, startTask(base, s.Run))
	}
	if p.registrar != nil {
		registrarTask = startTask(base, p.registrar.Run)
		healthTask = startTask(base, p.health.Run)
	}
	var asking *task
	if p.catalog != nil {
		asking = startTask(base, p.catalog.Run)
	}
	publishing := startTask(base, func(ctx context.Context) error { return p.micro.Run(ctx, p.events) })
	results := make(chan sourceResult)
	follower := startTask(ctx, func(ctx context.Context) error { return p.followSource(ctx, results) })

	err := l.run(ctx, base, results)
	follower.stop()
	if err == nil {
		l.drain(base)
	}
	l.close()
	publishing.stop()
	p.registrations.leave(base)
	asking.stop()
	healthTask.stop()
	registrarTask.stop()
	for _, t := range adminTasks {
		t.stop()
	}
	return err
}

// sourceResult is one answer of the Source.
type sourceResult struct {
	config *config.Config
	err    error
}

// followSource hands every configuration to the loop, in order.
func (p *Proxy) followSource(ctx context.Context, to chan<- sourceResult) error {
	for {
		c, err := p.o.Source.Next(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		select {
		case to <- sourceResult{config: c, err: err}:
		case <-ctx.Done():
			return ctx.Err()
		}
		var invalid *config.Invalid
		if err != nil && !errors.As(err, &invalid) {
			return err
		}
	}
}

// datacenter returns the agent's own datacenter, as an identity in use knows it, or "" if
// ctx is done before one does.
func (p *Proxy) datacenter(ctx context.Context) string {
	for _, pr := range p.published.Load().principals {
		id := pr.inUse()
		if id.await(ctx) != nil {
			continue
		}
		if dc := id.Datacenter(); dc != "" {
			return dc
		}
	}
	return ""
}

// wakeRegistrar has the registrar compare now what the agent was last told.
func (p *Proxy) wakeRegistrar() {
	if p.registrar != nil {
		p.registrar.Wake()
	}
}

func (p *Proxy) newRegistrar(o register.Options) (*register.Registrar, error) {
	return register.New(p.o.Client, o, register.Subject{
		Config:    func() *config.Config { return p.published.Load().config },
		Readiness: p.readiness,
		Application: func() register.Readiness {
			if err := p.health.Problem(); err != nil {
				return register.Readiness{Reasons: []string{"application: " + err.Error()}}
			}
			return register.Readiness{Ready: true}
		},
	}, p.logger)
}
