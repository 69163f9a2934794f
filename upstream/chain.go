package upstream

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/go-hclog"

	"connect-proxy/connectproxy/watch"
)

const (
	// DefaultChainPoll is how often the discovery chain of a destination in use
	// is asked for: it changes when an operator writes a configuration entry.
	DefaultChainPoll = 10 * time.Second
	// linger is how long targets after the one in use go on being watched, so
	// that a service that comes and goes does not start them each time.
	linger = time.Minute
	// glance is how often the targets are compared where there is a choice.
	glance = time.Second
)

// ChainOptions say which service a discovery chain starts from.
type ChainOptions struct {
	// Client is required.
	Client *api.Client
	// Name is the service's, in any case.
	Name string
	// Namespace, Partition and Datacenter are empty for the agent's own.
	Namespace, Partition, Datacenter string
	// LocalDatacenter is as in ServiceOptions.
	LocalDatacenter func(ctx context.Context) string
	// MeshGateway is how targets in another datacenter are reached: "none" is
	// directly, "local" and "remote" through a mesh gateway of this datacenter
	// or of theirs. Empty leaves it to the chain, which knows the defaults of
	// the mesh, and is directly where there is none.
	MeshGateway string
	// Poll is the time between two questions for the chain while it is in use;
	// zero means DefaultChainPoll.
	Poll time.Duration
	// Turns is as in ServiceOptions.
	Turns *Turns
	// Logger may be nil.
	Logger hclog.Logger
}

// NewChain returns a Resolver that follows a service's discovery chain: the
// redirects, subsets and failovers of service-resolver entries. Where the agent
// knows no chains or shows none to the token, it resolves the name alone.
//
// The first target with healthy instances is the destination, and instances
// whose checks only warn are healthy unless a subset says OnlyPassing, as
// Consul has it. A target is asked for only while those before it have none.
func NewChain(o ChainOptions) Resolver {
	if o.Logger == nil {
		o.Logger = hclog.NewNullLogger()
	}
	if o.Poll <= 0 {
		o.Poll = DefaultChainPoll
	}
	i := newInterest(o.Turns)
	c := &chain{
		o:        o,
		interest: i,
		wake:     make(chan struct{}, 1),
		looks:    make(chan chan<- []*leg),
		legs:     make(map[question]*leg),
		plans: watch.New(watch.Options[plan]{
			Name:   "discovery chain " + o.Name,
			Fetch:  newCompiler(o).fetch,
			Equal:  plan.equal,
			Pace:   func() time.Duration { return i.paceOfChain(o.Poll) },
			Turn:   i.enter(false),
			Logger: o.Logger,
		}),
	}
	c.current.Store(&published{next: make(chan struct{})})
	return c
}

// chain is a Resolver made of a watch of the chain and one for each target that
// matters.
type chain struct {
	o        ChainOptions
	plans    *watch.Watch[plan]
	interest *interest
	wake     chan struct{} // holds one call to look at the targets
	// looks is calls to do so that are told which targets matter.
	looks   chan chan<- []*leg
	current atomic.Pointer[published]

	// What follows belongs to choose's goroutine.
	legs   map[question]*leg
	plan   plan
	chosen string // target in use; empty before the first
}

var _ Resolver = (*chain)(nil)

// published is one state of the resolver; next is closed when another set
// replaces its own.
type published struct {
	set    Set
	ok     bool
	source *leg // that the set is of; nil before the first
	next   chan struct{}
}

func (c *chain) Set() (Set, bool) {
	p := c.current.Load()
	return p.set, p.ok
}

func (c *chain) Changed() <-chan struct{} { return c.current.Load().next }

// Status is that of the target in use, or of the chain before there is one.
func (c *chain) Status() watch.Status {
	if p := c.current.Load(); p.source != nil {
		return p.source.Status()
	}
	return c.plans.Status()
}

func (c *chain) Run(ctx context.Context) error {
	var all sync.WaitGroup
	all.Go(func() { _ = c.plans.Run(ctx) })
	defer all.Wait()
	return c.choose(ctx, &all)
}

// choose follows the plan and its targets. The goroutines of targets are all's.
func (c *chain) choose(ctx context.Context, all *sync.WaitGroup) error {
	var answer chan<- []*leg
	for {
		changed := c.plans.Changed()
		var glances <-chan time.Time
		var legs []*leg
		if p, ok := c.plans.Latest(); ok {
			c.adopt(p)
			c.look(func(q question) *leg {
				l := c.leg(ctx, all, q)
				legs = append(legs, l)
				return l
			})
			// With one target there is nothing that only time brings about.
			if len(p.targets) > 1 {
				glances = time.After(glance)
			}
		}
		if answer != nil {
			answer <- legs
			answer = nil
		}
		select {
		case <-changed:
		case <-c.wake:
		case answer = <-c.looks:
		case <-glances:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// adopt takes a plan over. The set of the old one stays until there is one of
// the new.
func (c *chain) adopt(p plan) {
	if c.plan.equal(p) {
		return
	}
	if p.written || c.plan.written {
		c.o.Logger.Info("discovery chain in force", "service", c.o.Name, "targets", strings.Join(p.names(), ", "))
	}
	c.plan, c.chosen = p, ""
	for q, l := range c.legs {
		if !p.asks(q) {
			c.stop(q, l)
		}
	}
}

// look publishes the set of the first target that has healthy instances. While
// a target may still answer, what there was before stays.
func (c *chain) look(ask func(question) *leg) {
	now := time.Now()
	defer c.trim(now)
	agent := c.plans.Status().Err == nil
	var doubts, empty *published // the first of each, for want of a healthy one
	for i, t := range c.plan.targets {
		l := ask(t.question)
		l.needed = now
		s, known, is := l.judge(now)
		p := &published{set: t.dress(s), ok: true, source: l}
		switch {
		case is == healthy, is == doubted && !agent: // nothing is fresher than that
			c.say(i, t)
			c.publish(p)
			return
		case is == waiting:
			return
		case is == doubted && doubts == nil:
			doubts = p
		case known && empty == nil:
			empty = p
		}
	}
	switch {
	case doubts != nil:
		c.publish(doubts)
	case empty != nil:
		c.publish(empty)
	}
}

// say logs which target is in use, when that changes.
func (c *chain) say(i int, t target) {
	switch {
	case c.chosen == t.id:
		return
	case i > 0:
		c.o.Logger.Warn("failing over", "service", c.o.Name, "target", t.id, "reason", "no healthy instance of "+c.plan.targets[0].id)
	case c.chosen != "":
		c.o.Logger.Info("failing back", "service", c.o.Name, "target", t.id)
	}
	c.chosen = t.id
}

// publish makes p the state to be seen, with news only if its set is another.
func (c *chain) publish(p *published) {
	old := c.current.Load()
	if old.ok && old.set.equal(p.set) {
		p.set, p.next = old.set, old.next
		if old.source != p.source {
			c.current.Store(p)
		}
		return
	}
	p.next = make(chan struct{})
	c.current.Store(p)
	close(old.next)
}

// trim stops watching targets that have not been needed for some time.
func (c *chain) trim(now time.Time) {
	for q, l := range c.legs {
		if now.Sub(l.needed) > linger {
			c.stop(q, l)
		}
	}
}

func (c *chain) stop(q question, l *leg) {
	l.cancel()
	delete(c.legs, q)
}

// leg returns the question's, asked from now on.
func (c *chain) leg(ctx context.Context, all *sync.WaitGroup, q question) *leg {
	if l := c.legs[q]; l != nil {
		return l
	}
	o := ServiceOptions{
		Client: c.o.Client, Name: q.service, Namespace: q.namespace, Partition: q.partition, Datacenter: q.datacenter,
		LocalDatacenter: c.o.LocalDatacenter, Filter: q.filter, Warning: q.warning, Turns: c.o.Turns, Logger: c.o.Logger,
	}
	l := &leg{service: newService(o, c.interest, c.poke), started: time.Now()}
	if q.gateway != "" {
		g := newGateways(o, q.gateway, q.datacenter, c.o.Poll, c.interest, c.poke)
		l.gateways = &g
	}
	ctx, l.cancel = context.WithCancel(ctx)
	all.Go(func() { l.run(ctx) })
	c.legs[q] = l
	return l
}

// poke has the targets looked at again.
func (c *chain) poke() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}
