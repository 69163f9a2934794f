package catalog

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"connect-proxy/upstream"
	"connect-proxy/upstream/watch"
)

const (
	// DefaultChainPoll is how often the discovery chain of a destination in use
	// is asked for: it changes when an operator writes a configuration entry.
	DefaultChainPoll = 10 * time.Second
	// maxConfirms bounds the rounds in which a chain's targets are confirmed, of
	// which each may bring another target up.
	maxConfirms = 3
)

// ChainOptions say which service a discovery chain starts from.
type ChainOptions struct {
	// Label is what the destination is called in the log; empty means Name.
	Label string
	// Name is the service's, in any case.
	Name string
	// Namespace, Partition and Datacenter are empty for the agent's own.
	Namespace, Partition, Datacenter string
	// MeshGateway is how targets in another datacenter are reached: "none" is
	// directly, "local" and "remote" through a mesh gateway of this datacenter
	// or of theirs. Empty leaves it to the chain, which knows the defaults of
	// the mesh, and is directly where there is none.
	MeshGateway string
	// Poll is the time between two questions for the chain while it is in use;
	// zero or less means DefaultChainPoll.
	Poll time.Duration
}

// Chain returns a Resolver that follows a service's discovery chain: the
// redirects, subsets and failovers of service-resolver entries. Where the agent
// knows no chains or shows none to the token, it resolves the name alone.
//
// The first target with healthy instances is the destination, and instances
// whose checks only warn are healthy unless a subset says OnlyPassing, as
// Consul has it. A target is asked for only while those before it have none.
func (c *Catalog) Chain(o ChainOptions) Resolver {
	o.Poll = cmp.Or(max(o.Poll, 0), DefaultChainPoll)
	r := &chainResolver{
		o: o, c: c, usage: usage{c: c},
		sets: setLogger{logger: c.o.Logger, name: cmp.Or(o.Label, o.Name)},
	}
	r.compiler = compiler{o: o, c: c, usage: &r.usage}
	r.compiled = watch.New(watch.Options[compiledChain]{
		Name:   "discovery chain " + o.Name,
		Fetch:  r.compiler.fetch,
		Equal:  compiledChain.equal,
		Pace:   func() time.Duration { return r.usage.chainPace(o.Poll) },
		Notify: r.update,
		Logger: c.o.Logger,
	})
	r.compiled.Schedule(c.line(false), c.firstDelay(&r.usage), r.usage.recent)
	return r
}

// chainResolver is a Resolver made of a watch of the chain and of those of each target
// that matters.
type chainResolver struct {
	upstream.Followers
	o        ChainOptions
	c        *Catalog
	usage    usage
	compiler compiler
	compiled *watch.Watch[compiledChain]
	current  atomic.Pointer[published] // nil before the first set

	mu      sync.Mutex // guards what follows
	closed  bool
	inForce compiledChain
	targets []*targetWatch // those that are asked for
	chosen  string         // target in use; empty before the first
	sets    setLogger
	again   *time.Timer // of the next change that time alone brings about
}

var _ Resolver = (*chainResolver)(nil)

// published is one state of the resolver.
type published struct {
	set    upstream.Set
	source *targetWatch // that the set is of
}

// Set is Resolver's.
func (c *chainResolver) Set() (upstream.Set, bool) {
	if p := c.current.Load(); p != nil {
		return p.set, true
	}
	return upstream.Set{}, false
}

// Status is that of the target in use. Before there is one, it is the chain's, or
// where that has come, that of a target that cannot be asked for.
func (c *chainResolver) Status() upstream.ResolverStatus {
	if p := c.current.Load(); p != nil {
		return p.source.status()
	}
	s := upstream.ResolverStatus(c.compiled.Status())
	if s.Err != nil {
		return s
	}
	c.mu.Lock() // held by whoever notifies of a set, which is in current by then
	defer c.mu.Unlock()
	for _, t := range c.targets {
		if of := t.status(); of.Err != nil {
			return of
		}
	}
	return s
}

// Use is Resolver's.
func (c *chainResolver) Use(ctx context.Context) bool { return c.usage.use(ctx, c.confirm) }

// Close is Resolver's.
func (c *chainResolver) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	c.compiled.Unschedule()
	c.keepTargets(func(*targetWatch) bool { return false })
	if c.again != nil {
		c.again.Stop()
	}
}

// confirm has the agent asked for the chain and all targets that are watched, at
// once: whatever becomes of the answers, all of them are asked for at the pace of
// use from now on. Then it waits for the chain, and for the targets that matter.
func (c *chainResolver) confirm(ctx context.Context) {
	asked := c.compiled.Asked()
	c.compiled.Refresh()
	c.mu.Lock()
	for _, t := range c.targets {
		t.refresh()
	}
	c.mu.Unlock()
	if time.Since(c.compiled.Status().Fresh) > freshEnough && c.compiled.Confirm(ctx, asked) != nil {
		return
	}
	var done []*targetWatch
	for range maxConfirms {
		left := slices.DeleteFunc(c.needed(), func(t *targetWatch) bool { return slices.Contains(done, t) })
		if len(left) == 0 {
			return
		}
		for _, t := range left {
			t.confirm(ctx)
		}
		done = append(done, left...)
	}
}

// needed are the targets that matter at this moment.
func (c *chainResolver) needed() []*targetWatch {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.selectTarget(time.Now())
	var needed []*targetWatch
	for _, t := range c.targets {
		if t.unneeded.IsZero() {
			needed = append(needed, t)
		}
	}
	return needed
}

// update takes in what a watch has to tell, or time has brought about.
func (c *chainResolver) update() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.selectTarget(time.Now())
}
