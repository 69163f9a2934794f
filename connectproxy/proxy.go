package connectproxy

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/go-hclog"

	"connect-proxy/config"
	"connect-proxy/connectproxy/admin"
	"connect-proxy/listener/relay"
)

// pulse is how often the engine looks at what it is not told of: the clock
// against the leaf's expiry, and readiness.
const pulse = time.Second

// Options describe one Proxy.
type Options struct {
	// Source says what to run. Required.
	Source config.Source
	// Client reaches the local agent. Required.
	Client *api.Client
	// Admin is the loopback address or unix:/path of /health and /ready; empty
	// means none.
	Admin string
	// DrainTimeout overrides the configuration's where it is positive.
	DrainTimeout time.Duration
	// TLS overrides the configuration's where it says something.
	TLS config.TLS
	// Register has the proxy register itself with the agent; nil means that it
	// does not.
	Register *RegisterOptions
	// Logger gets what operators want to know; nil means none.
	Logger hclog.Logger
	// LogDropped counts the lines that did not get into the log; nil means that
	// none is ever dropped.
	LogDropped func() uint64
	// Agent says how the agent is reached; nil means that there is nothing to
	// say. It must not block.
	Agent func() AgentStatus
}

// Proxy is a sidecar: it runs what its Source says.
type Proxy struct {
	o         Options
	logger    hclog.Logger
	admin     *admin.Server // nil without Options.Admin
	resolvers *resolvers
	relay     *relay.Engine // moves the bytes of every listener
	wake      chan struct{} // of the registrar; holds one call
	said      said          // only the loop touches it
	// proven is the identity with whose first leaf the loop has reckoned; only
	// the loop touches it.
	proven *duty

	mu            sync.Mutex // guards what follows; only the loop writes it
	started       time.Time
	config        *config.Config
	since         time.Time // when config took effect
	plan          plan
	configProblem string
	draining      bool
	duty          *duty // nil before the first configuration
	next          *duty // another identity that waits for its leaf; may be nil
	members       map[key]*member
	leaving       []*member // closed sockets whose last connections go on
}

// New makes a Proxy and starts nothing. An error is the user's to mend.
func New(o Options) (*Proxy, error) {
	switch {
	case o.Source == nil:
		return nil, errors.New("a proxy needs a source of configuration")
	case o.Client == nil:
		return nil, errors.New("a proxy needs a client of the local agent")
	}
	if mistakes := o.TLS.Validate(); len(mistakes) > 0 {
		return nil, &config.Invalid{Mistakes: mistakes}
	}
	if o.Logger == nil {
		o.Logger = hclog.NewNullLogger()
	}
	if o.Register != nil {
		if err := o.Register.validate(); err != nil {
			return nil, err
		}
	}
	p := &Proxy{
		o:       o,
		logger:  o.Logger,
		relay:   relay.New(),
		wake:    make(chan struct{}, 1),
		members: make(map[key]*member),
	}
	p.resolvers = &resolvers{client: o.Client, logger: o.Logger, datacenter: p.datacenter}
	if o.Admin == "" {
		return p, nil
	}
	var err error
	p.admin, err = admin.New(admin.Options{
		Name:    "admin",
		Address: o.Admin,
		Handler: admin.Handler(p.report),
		Logger:  o.Logger,
	})
	if err != nil {
		return nil, err
	}
	return p, nil
}

// Run is the proxy: it returns once everything it started has ended. When ctx
// is done it drains and returns nil. A first configuration that cannot be used
// ends it with a *config.Invalid; everything else that goes wrong is waited
// out. It must be called once.
func (p *Proxy) Run(ctx context.Context) error {
	// What drains must outlive ctx, so ctx only ends the loop.
	base, kill := context.WithCancel(context.WithoutCancel(ctx))
	defer kill()
	p.mu.Lock()
	p.started = time.Now()
	p.mu.Unlock()

	var adminTask, registrarTask *task
	if p.admin != nil {
		adminTask = begin(base, p.admin.Run)
	}
	if p.o.Register != nil {
		registrarTask = begin(base, p.registrar().run)
	}
	pulled := make(chan pull)
	puller := begin(ctx, func(ctx context.Context) error { return p.pull(ctx, pulled) })

	err := p.loop(ctx, base, pulled)
	puller.stop()
	if err == nil {
		p.drain(base)
	}
	p.closeAll()
	registrarTask.stop()
	adminTask.stop()
	return err
}

// pull is one answer of the Source.
type pull struct {
	config *config.Config
	err    error
}

// pull hands every configuration to the loop, in order.
func (p *Proxy) pull(ctx context.Context, to chan<- pull) error {
	for {
		c, err := p.o.Source.Next(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		select {
		case to <- pull{config: c, err: err}:
		case <-ctx.Done():
			return ctx.Err()
		}
		var invalid *config.Invalid
		if err != nil && !errors.As(err, &invalid) {
			return err
		}
	}
}

// loop follows the configuration until ctx is done. It is the only goroutine
// that changes what runs.
func (p *Proxy) loop(ctx, base context.Context, pulled <-chan pull) error {
	tick := time.NewTicker(pulse)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case got := <-pulled:
			if err := p.take(base, got); err != nil {
				return err
			}
		case <-p.awaited():
		case <-tick.C:
		}
		p.reconcile(base)
		p.tell()
	}
}

// awaited is closed once the identity that is waited for has its leaf; it is
// nil when none is waited for.
func (p *Proxy) awaited() <-chan struct{} {
	switch {
	case p.next != nil:
		return p.next.identity.Ready()
	case p.duty != p.proven:
		return p.duty.identity.Ready()
	}
	return nil
}

// take puts a configuration in force. Without one in force an error ends the
// proxy.
func (p *Proxy) take(base context.Context, got pull) error {
	var invalid *config.Invalid
	switch {
	case got.err == nil:
		p.adopt(base, got.config)
		return nil
	case p.config == nil:
		return got.err
	case errors.As(got.err, &invalid):
		p.logger.Error("configuration refused; the last good one stays in force", "error", got.err)
	default:
		return fmt.Errorf("following the configuration: %w", got.err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.configProblem = got.err.Error()
	return nil
}

// adopt makes c the configuration. A new identity replaces the one in use only
// when it has its leaf, so that nothing is refused between the two.
func (p *Proxy) adopt(base context.Context, given *config.Config) {
	c := new(config.Config)
	*c = *given
	c.TLS = c.TLS.Override(p.o.TLS)
	plan := translate(c)
	p.mu.Lock()
	p.config, p.since, p.plan, p.configProblem = c, time.Now(), plan, ""
	current, next := p.duty, p.next
	p.mu.Unlock()

	switch {
	case current == nil:
		current = p.openDuty(base, plan.identity)
	case current.key == plan.identity:
		next.close()
		next = nil
	case next == nil || next.key != plan.identity:
		next.close()
		next = p.openDuty(base, plan.identity)
	}
	p.mu.Lock()
	p.duty, p.next = current, next
	p.mu.Unlock()
}

func (p *Proxy) openDuty(base context.Context, k identityKey) *duty {
	return openDuty(base, k, p.o.Client, publicPeers{p}, p.logger)
}

// closeAll ends whatever still runs.
func (p *Proxy) closeAll() {
	p.mu.Lock()
	members := append([]*member(nil), p.leaving...)
	for _, m := range p.members {
		members = append(members, m)
	}
	p.members, p.leaving = map[key]*member{}, nil
	duty, next := p.duty, p.next
	p.mu.Unlock()
	for _, m := range members {
		m.close()
	}
	p.relay.Close()
	next.close()
	duty.close()
}
