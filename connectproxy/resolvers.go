package connectproxy

import (
	"context"
	"fmt"
	"net"
	"sync"

	"connect-proxy/config"
	"connect-proxy/upstream"
	"connect-proxy/upstream/catalog"
	"connect-proxy/upstream/dns"
)

// Resolver finds the instances of one destination. upstream.Latest is the part of
// one that remembers them.
type Resolver interface {
	upstream.Resolver
	// Run keeps the set current until ctx is done, and returns ctx's error. It is
	// called once.
	Run(ctx context.Context) error
}

// resolvers holds one resolver for each destination in use, however many
// listeners lead there: its instances are asked for once.
type resolvers struct {
	// byType is how those of each type of destination are opened.
	byType map[config.DestinationType]openResolver

	mu   sync.Mutex // guards what follows
	open map[route]*sharedResolver
}

// openResolver opens the resolver of a route, which is kept current until stop is
// called, or ctx is done.
type openResolver func(ctx context.Context, to route) (r upstream.Resolver, stop func())

// route is a destination and the way there: what the answers about it depend on.
type route struct {
	config.Destination
	// meshGateway is the mode; empty leaves it to the destination.
	meshGateway string
}

func routeOf(u *config.Upstream) route { return route{u.Destination, u.MeshGateway} }

// sharedResolver is a resolver that is kept current from its first user to its
// last.
type sharedResolver struct {
	upstream.Resolver
	stop  func()
	route route
	pool  *resolvers
	users int // guarded by pool.mu
}

// acquire returns the route's resolver, which runs until ctx is done at most.
// Every acquire that returns no error needs a release.
func (p *resolvers) acquire(ctx context.Context, to route) (*sharedResolver, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.open[to]
	if r == nil {
		open := p.byType[to.Type]
		if open == nil {
			return nil, fmt.Errorf("nothing here finds destinations of type %q", to.Type)
		}
		r = &sharedResolver{route: to, pool: p}
		r.Resolver, r.stop = open(ctx, to)
		if p.open == nil {
			p.open = make(map[route]*sharedResolver)
		}
		p.open[to] = r
	}
	r.users++
	return r, nil
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
		r.stop()
	}
}

// resolversByType are the built-in ones, and in their place or beside them the
// user's. A further source of instances is a package and a line here.
func (p *Proxy) resolversByType(own map[config.DestinationType]func(config.Destination) Resolver) map[config.DestinationType]openResolver {
	all := map[config.DestinationType]openResolver{
		config.Addresses: openAddresses,
		config.DNS:       p.openDNS,
	}
	if p.catalog != nil {
		all[config.Service], all[config.PreparedQuery] = p.openChain, p.openQuery
	}
	for t, make := range own {
		all[t] = running(make)
	}
	return all
}

// running opens resolvers that run by themselves.
func running(make func(config.Destination) Resolver) openResolver {
	return func(ctx context.Context, to route) (upstream.Resolver, func()) {
		r := make(to.Destination)
		return r, startTask(ctx, r.Run).stop
	}
}

// openAddresses opens the resolver of addresses that do not change.
func openAddresses(_ context.Context, to route) (upstream.Resolver, func()) {
	var s upstream.Set
	for _, address := range to.AddressList() {
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			continue // a valid configuration has none such
		}
		s.Endpoints = append(s.Endpoints, upstream.Endpoint{ID: address, Address: address, Identity: to.expecting(host)})
	}
	return upstream.Fixed(to.String(), s), func() {}
}

// openDNS opens the resolver of a name in the DNS.
func (p *Proxy) openDNS(ctx context.Context, to route) (upstream.Resolver, func()) {
	r := dns.New(dns.Options{Name: to.Name, Label: to.String(), Identity: to.expecting, Logger: p.logger})
	return r, startTask(ctx, r.Run).stop
}

// expecting is whom an instance must prove to be that is found under a host name
// or an address, where its identity is not Consul's.
func (to route) expecting(host string) upstream.Identity {
	return upstream.Identity{Host: host, Patterns: to.Verify}
}

// openChain opens the resolver of a service of Consul's.
func (p *Proxy) openChain(_ context.Context, to route) (upstream.Resolver, func()) {
	r := p.catalog.Chain(catalog.ChainOptions{
		Label:       to.String(),
		Name:        to.Name,
		Namespace:   to.Namespace,
		Partition:   to.Partition,
		Datacenter:  to.Datacenter,
		MeshGateway: to.meshGateway,
	})
	return r, r.Close
}

// openQuery opens that of a prepared query of Consul's.
func (p *Proxy) openQuery(_ context.Context, to route) (upstream.Resolver, func()) {
	r := p.catalog.Query(catalog.QueryOptions{
		Label:      to.String(),
		Name:       to.Name,
		Namespace:  to.Namespace,
		Partition:  to.Partition,
		Datacenter: to.Datacenter,
	})
	return r, r.Close
}
