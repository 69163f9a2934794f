package connectproxy

import (
	"context"
	"sync"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/go-hclog"

	"connect-proxy/config"
	"connect-proxy/upstream"
)

// resolvers holds one resolver for each destination in use, however many
// listeners lead there: the agent is asked once.
type resolvers struct {
	client *api.Client
	logger hclog.Logger
	// datacenter is the agent's own, or "" if ctx is done before it is known.
	datacenter func(ctx context.Context) string

	mu   sync.Mutex // guards what follows
	open map[config.Destination]*sharedResolver
}

// sharedResolver is a resolver that runs from its first user to its last.
type sharedResolver struct {
	upstream.Resolver
	destination config.Destination
	pool        *resolvers
	task        *task
	users       int // guarded by pool.mu
}

// Run takes the place of the resolver's own, which runs once for all its users.
func (*sharedResolver) Run(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

// acquire returns the destination's resolver, running. Every acquire needs a
// release.
func (p *resolvers) acquire(ctx context.Context, d config.Destination) *sharedResolver {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.open[d]
	if r == nil {
		r = &sharedResolver{Resolver: p.resolver(d), destination: d, pool: p}
		r.task = begin(ctx, r.Resolver.Run)
		if p.open == nil {
			p.open = make(map[config.Destination]*sharedResolver)
		}
		p.open[d] = r
	}
	r.users++
	return r
}

// release ends the resolver with its last user.
func (r *sharedResolver) release() {
	r.pool.mu.Lock()
	r.users--
	last := r.users == 0
	if last {
		delete(r.pool.open, r.destination)
	}
	r.pool.mu.Unlock()
	if last {
		r.task.stop()
	}
}

func (p *resolvers) resolver(d config.Destination) upstream.Resolver {
	if d.Type == config.PreparedQuery {
		return upstream.NewQuery(upstream.QueryOptions{
			Client:          p.client,
			Name:            d.Name,
			Namespace:       d.Namespace,
			Partition:       d.Partition,
			Datacenter:      d.Datacenter,
			LocalDatacenter: p.datacenter,
			Logger:          p.logger,
		})
	}
	return upstream.NewService(upstream.ServiceOptions{
		Client:          p.client,
		Name:            d.Name,
		Namespace:       d.Namespace,
		Partition:       d.Partition,
		Datacenter:      d.Datacenter,
		LocalDatacenter: p.datacenter,
		Logger:          p.logger,
	})
}
