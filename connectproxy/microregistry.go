package connectproxy

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"

	"connect-proxy/config"
	"connect-proxy/connectproxy/micro"
)

// microRegistry answers from the agent's catalog.
type microRegistry struct {
	p *Proxy
	// represented remembers which services proxies stand for that are registered
	// without them, by the names of the proxies. Services alone needs and uses it.
	represented map[string]representedServices
}

// representedServices are what is behind the proxies of a name.
type representedServices struct {
	names []string
	until time.Time
}

const (
	// representedFresh is how long it is believed what is behind a proxy, and
	// maxRepresented of how many names the agent is asked for one list.
	representedFresh = 30 * time.Second
	maxRepresented   = 16
)

var _ micro.Registry = microRegistry{}

var errNoAgent = errors.New("the registry is the agent's, and this proxy has none")

func (r microRegistry) options(ctx context.Context, d config.Destination) *api.QueryOptions {
	o := &api.QueryOptions{Datacenter: d.Datacenter, Namespace: d.Namespace, Partition: d.Partition, AllowStale: true}
	return o.WithContext(ctx)
}

// Services and Instances are micro.Registry's.
func (r microRegistry) Services(ctx context.Context) ([]string, error) {
	client := r.p.o.Client
	if client == nil {
		return nil, errNoAgent
	}
	all, _, err := client.Catalog().Services(r.options(ctx, config.Destination{}))
	if err != nil {
		return nil, err
	}
	return append(slices.Collect(maps.Keys(all)), r.behindProxies(ctx, all)...), nil
}

// behindProxies are the services that are not among all and that proxies stand for
// which are. A name is asked about that ends as those of proxies do, if what comes
// before is no service by itself. What the agent does not say is as it was.
func (r microRegistry) behindProxies(ctx context.Context, all map[string][]string) []string {
	left := maxRepresented
	for _, proxy := range slices.Sorted(maps.Keys(all)) {
		service, ok := strings.CutSuffix(proxy, "-proxy")
		service = strings.TrimSuffix(service, "-sidecar")
		if _, registered := all[service]; !ok || registered || left == 0 || time.Now().Before(r.represented[proxy].until) {
			continue
		}
		left--
		if names, err := (&subscribers{p: r.p}).Behind(ctx, proxy); err == nil {
			r.represented[proxy] = representedServices{names, time.Now().Add(representedFresh)}
		}
	}
	var found []string
	for proxy, behind := range r.represented {
		if _, ok := all[proxy]; !ok {
			delete(r.represented, proxy)
			continue
		}
		for _, name := range behind.names {
			if _, registered := all[name]; !registered && !slices.Contains(found, name) {
				found = append(found, name)
			}
		}
	}
	return found
}

func (r microRegistry) Instances(ctx context.Context, d config.Destination) ([]micro.Instance, error) {
	client := r.p.o.Client
	if client == nil {
		return nil, errNoAgent
	}
	if d.Type == config.PreparedQuery {
		return nil, errors.New("a prepared query is no service of the registry")
	}
	entries, _, err := client.Health().Service(d.Name, "", true, r.options(ctx, d))
	if err == nil && len(entries) == 0 { // nobody has registered more than the proxy
		entries, _, err = client.Health().Connect(d.Name, "", true, r.options(ctx, d))
	}
	all := make([]micro.Instance, 0, len(entries))
	for _, e := range entries {
		delete(e.Service.Meta, registeredBy) // is nothing of the application's
		all = append(all, micro.Instance{
			ID: e.Service.ID, Address: cmp.Or(e.Service.Address, e.Node.Address), Port: e.Service.Port,
			Tags: e.Service.Tags, Meta: e.Service.Meta,
		})
	}
	return all, err
}
