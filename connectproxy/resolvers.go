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

	turns upstream.Turns

	mu   sync.Mutex // guards what follows
	open map[route]*sharedResolver
}

// route is a destination and the way there: what the agent's answers depend on.
type route struct {
	config.Destination
	// meshGateway is the mode; empty leaves it to the destination.
	meshGateway string
}

func routeOf(u *config.Upstream) route { return route{u.Destination, u.MeshGateway} }

// sharedResolver is a resolver that runs from its first user to its last.
type sharedResolver struct {
	upstream.Resolver
	route route
	pool  *resolvers
	task  *task
	users int // guarded by pool.mu
}

// acquire returns the route's resolver, running. Every acquire needs a release.
func (p *resolvers) acquire(ctx context.Context, to route) *sharedResolver {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.open[to]
	if r == nil {
		r = &sharedResolver{Resolver: p.resolver(to), route: to, pool: p}
		r.task = begin(ctx, r.Resolver.Run)
		if p.open == nil {
			p.open = make(map[route]*sharedResolver)
		}
		p.open[to] = r
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
		delete(r.pool.open, r.route)
	}
	r.pool.mu.Unlock()
	if last {
		r.task.stop()
	}
}

func (p *resolvers) resolver(d route) upstream.Resolver {
	if d.Type == config.PreparedQuery {
		return upstream.NewQuery(upstream.QueryOptions{
			Client:          p.client,
			Name:            d.Name,
			Namespace:       d.Namespace,
			Partition:       d.Partition,
			Datacenter:      d.Datacenter,
			LocalDatacenter: p.datacenter,
			Turns:           &p.turns,
			Logger:          p.logger,
		})
	}
	return upstream.NewChain(upstream.ChainOptions{
		Client:          p.client,
		Name:            d.Name,
		Namespace:       d.Namespace,
		Partition:       d.Partition,
		Datacenter:      d.Datacenter,
		LocalDatacenter: p.datacenter,
		MeshGateway:     d.meshGateway,
		Turns:           &p.turns,
		Logger:          p.logger,
	})
}
