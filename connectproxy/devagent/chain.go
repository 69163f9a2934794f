package devagent

import (
	"cmp"
	"fmt"
	"net/http"
	"time"

	"github.com/hashicorp/consul/api"
)

// chainView is a compiled discovery chain of TCP: a resolver with its target
// and the failover's.
type chainView struct {
	ServiceName       string
	Namespace         string
	Partition         string
	Datacenter        string
	CustomizationHash string `json:",omitempty"`
	Default           bool   `json:",omitempty"`
	Protocol          string
	StartNode         string
	Nodes             map[string]chainNode
	Targets           map[string]chainTarget
}

type chainNode struct {
	Type, Name string
	Resolver   resolverNode
}

type resolverNode struct {
	ConnectTimeout string
	Default        bool `json:",omitempty"`
	Target         string
	Failover       *chainFailover `json:",omitempty"`
}

type chainFailover struct{ Targets []string }

type chainTarget struct {
	ConnectTimeout   string
	ID               string
	Service          string
	ServiceSubset    string `json:",omitempty"`
	Namespace        string
	Partition        string
	Datacenter       string
	MeshGateway      struct{}
	Subset           api.ServiceResolverSubset
	TransparentProxy struct{}
	SNI, Name        string
}

// resolverTarget is where a resolver may lead.
type resolverTarget struct{ service, subset, datacenter string }

// maxRedirects bounds how far redirects are followed; a circle is refused when
// the entry is stored.
const maxRedirects = 64

// getChain compiles the chain of a service. The evaluation may be asked for in
// another datacenter, by compile-dc, or with another protocol, which changes
// nothing where there are no routers and splitters.
func (a *Agent) getChain(r *http.Request) answer {
	if problem, ok := a.here(r); !ok {
		return problem
	}
	name := r.PathValue("service")
	if len(name) > maxName {
		return a.badRequest("the service's name is too long")
	}
	in := cmp.Or(r.URL.Query().Get("compile-dc"), a.o.Datacenter)
	var overrides struct{ OverrideConnectTimeout time.Duration }
	if r.Method == http.MethodPost {
		if problem, ok := a.decode(r, &overrides); !ok {
			return problem
		}
	}
	return answer{
		body:  map[string]any{"Chain": a.compile(name, in)},
		index: max(a.entriesIndex, 1),
		headers: headers{
			meta: true, consistency: true, cached: r.URL.Query().Has("cached"),
		},
	}
}

// compile follows the resolver of a service to its targets.
func (a *Agent) compile(name, datacenter string) chainView {
	c := chainView{
		ServiceName: name, Namespace: "default", Partition: "default", Datacenter: datacenter,
		Protocol: "tcp", Nodes: map[string]chainNode{}, Targets: map[string]chainTarget{},
	}
	entry, first, redirected := a.follow(resolverTarget{service: name, datacenter: datacenter})
	id := a.target(&c, first)
	node := chainNode{Type: api.DiscoveryGraphNodeTypeResolver, Name: id, Resolver: resolverNode{
		ConnectTimeout: timeoutOf(entry).String(), Default: entry == nil, Target: id,
	}}
	c.Default = entry == nil && !redirected
	if ids := a.failover(&c, entry, first); len(ids) > 0 {
		node.Resolver.Failover = &chainFailover{Targets: ids}
	}
	c.StartNode = api.DiscoveryGraphNodeTypeResolver + ":" + id
	c.Nodes[c.StartNode] = node
	return c
}

// follow goes along redirects and default subsets, and gives the entry that is
// in force in the end.
func (a *Agent) follow(p resolverTarget) (entry *api.ServiceResolverConfigEntry, at resolverTarget, redirected bool) {
	for range maxRedirects {
		entry = nil
		if r := a.resolvers[p.service]; r != nil {
			entry = r.entry
		}
		if entry == nil {
			break
		}
		if t := entry.Redirect; t != nil {
			next := resolverTarget{cmp.Or(t.Service, p.service), t.ServiceSubset, cmp.Or(t.Datacenter, p.datacenter)}
			if next == p {
				break
			}
			p, redirected = next, true
			continue
		}
		if p.subset == "" {
			p.subset = entry.DefaultSubset
		}
		break
	}
	return entry, p, redirected
}

// failover gives the IDs of the targets after the first.
func (a *Agent) failover(c *chainView, entry *api.ServiceResolverConfigEntry, first resolverTarget) []string {
	if entry == nil {
		return nil
	}
	f, ok := entry.Failover[first.subset]
	if !ok {
		f, ok = entry.Failover[wildcard]
	}
	if !ok {
		return nil
	}
	var ids []string
	for _, p := range failoverTargets(f, first) {
		_, p, _ = a.follow(p)
		if id := a.target(c, p); id != first.id() {
			ids = append(ids, id)
		}
	}
	return ids
}

// failoverTargets are where a failover leads, in order.
func failoverTargets(f api.ServiceResolverFailover, first resolverTarget) []resolverTarget {
	var targets []resolverTarget
	if len(f.Targets) > 0 {
		for _, t := range f.Targets {
			targets = append(targets, failoverTarget(first, t.Service, t.ServiceSubset, t.Datacenter))
		}
		return targets
	}
	datacenters := f.Datacenters
	if len(datacenters) == 0 {
		datacenters = []string{first.datacenter}
	}
	for _, dc := range datacenters {
		targets = append(targets, failoverTarget(first, f.Service, f.ServiceSubset, dc))
	}
	return targets
}

// failoverTarget keeps of the first target what is not said otherwise. Another
// service does not have the first one's subset.
func failoverTarget(first resolverTarget, service, subset, datacenter string) resolverTarget {
	p := resolverTarget{cmp.Or(service, first.service), subset, cmp.Or(datacenter, first.datacenter)}
	if subset == "" && p.service == first.service {
		p.subset = first.subset
	}
	return p
}

// id is Consul's name of a target.
func (p resolverTarget) id() string {
	id := p.service + ".default.default." + p.datacenter
	if p.subset != "" {
		id = p.subset + "." + id
	}
	return id
}

// target adds a target to the chain's targets and gives its ID.
func (a *Agent) target(c *chainView, p resolverTarget) string {
	t := chainTarget{
		ID: p.id(), Service: p.service, ServiceSubset: p.subset,
		Namespace: "default", Partition: "default", Datacenter: p.datacenter,
	}
	var entry *api.ServiceResolverConfigEntry
	if r := a.resolvers[p.service]; r != nil {
		entry = r.entry
		t.Subset = entry.Subsets[p.subset]
	}
	t.ConnectTimeout = timeoutOf(entry).String()
	t.SNI = fmt.Sprintf("%s.default.%s.internal.%s", p.service, p.datacenter, a.authority.active().trustDomain)
	if p.subset != "" {
		t.SNI = p.subset + "." + t.SNI
	}
	t.Name = t.SNI
	c.Targets[t.ID] = t
	return t.ID
}

func timeoutOf(entry *api.ServiceResolverConfigEntry) time.Duration {
	if entry == nil || entry.ConnectTimeout == 0 {
		return connectTimeout
	}
	return entry.ConnectTimeout
}
