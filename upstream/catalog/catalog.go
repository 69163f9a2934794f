package catalog

import (
	"context"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/go-hclog"

	"connect-proxy/upstream"
	"connect-proxy/upstream/watch"
)

const (
	// restPace is how often the agent is asked about a destination that is not in
	// use and has not changed for long, and newPace is the same just after a
	// start or a change: in between it is asked again when half as much has been
	// added to the time since then.
	restPace  = time.Minute
	newPace   = 2 * time.Second
	restSteps = 2
	// restShare is what the pace is at least for each destination that there is,
	// so that however many of them ask about one question a second.
	restShare = time.Second
	// startSpread is the time over which the first questions about destinations
	// that are not in use are spread: proxies start together where a host does.
	startSpread = 300 * time.Millisecond
)

// Options describe a Catalog.
type Options struct {
	// Client reaches the local agent. Required.
	Client *api.Client
	// LocalDatacenter returns the agent's datacenter, or "" if it is not known
	// before ctx is done. It is called for destinations that name a datacenter only;
	// nil means that every datacenter named is a remote one.
	LocalDatacenter func(ctx context.Context) string
	// Logger may be nil.
	Logger hclog.Logger
}

// Catalog asks the local agent about all destinations of a proxy, one question
// after the other, those of destinations in use first. Questions that may lead to
// another datacenter wait in a line of their own, since they may take long. Its
// methods are safe for concurrent use.
type Catalog struct {
	o             Options
	log           *logLimit // o's
	epoch         time.Time
	local, remote *watch.Scheduler
	// destinations counts those that have instances to be asked for.
	destinations atomic.Int64
}

// Resolver is an upstream.Resolver whose destination the agent is asked about
// until it is closed, while its Catalog runs. It is safe for concurrent use.
type Resolver interface {
	upstream.Resolver
	// Close ends the questions and does not wait for one under way. The last set
	// stays.
	Close()
}

// New makes a Catalog, which asks nothing before Run.
func New(o Options) *Catalog {
	if o.Logger == nil {
		o.Logger = hclog.NewNullLogger()
	}
	log := newLogLimit(o.Logger)
	o.Logger = log
	return &Catalog{o: o, log: log, epoch: time.Now(), local: watch.NewScheduler(), remote: watch.NewScheduler()}
}

// Run asks the questions of all resolvers until ctx is done, and returns ctx's
// error. It runs once.
func (c *Catalog) Run(ctx context.Context) error {
	var remote sync.WaitGroup
	remote.Go(func() { _ = c.remote.Run(ctx) })
	defer c.log.close()
	defer remote.Wait()
	return c.local.Run(ctx)
}

// line is the Scheduler for questions that lead to another datacenter or not.
func (c *Catalog) line(remote bool) *watch.Scheduler {
	if remote {
		return c.remote
	}
	return c.local
}

// restInterval is the time between two questions about a destination that is not in use
// and has brought nothing new for quiet.
func (c *Catalog) restInterval(quiet time.Duration) time.Duration {
	share := time.Duration(c.destinations.Load()) * restShare
	return min(max(newPace, share, quiet/restSteps), max(restPace, share))
}

// firstDelay is how long to wait before the first question about a destination.
func (c *Catalog) firstDelay(u *usage) time.Duration {
	if u.recent() {
		return 0
	}
	return rand.N(startSpread)
}

// now is nanoseconds since the Catalog was made, never zero.
func (c *Catalog) now() int64 { return int64(time.Since(c.epoch)) + 1 }

// localDatacenter is the agent's, or "" if it is not known.
func (c *Catalog) localDatacenter(ctx context.Context) string {
	if c.o.LocalDatacenter == nil {
		return ""
	}
	return c.o.LocalDatacenter(ctx)
}

// remoteTo tells which datacenters are not the agent's own. Where none was asked
// for, every answer is local.
func (c *Catalog) remoteTo(ctx context.Context, asked string) func(string) bool {
	if asked == "" {
		return func(string) bool { return false }
	}
	own := c.localDatacenter(ctx)
	return func(datacenter string) bool { return !strings.EqualFold(datacenter, own) }
}
