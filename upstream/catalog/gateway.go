package catalog

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/hashicorp/consul/api"

	"connect-proxy/upstream"
)

// gatewayMode is a mesh gateway mode that leads through one, or empty.
type gatewayMode string

const (
	// localGateway is one in the proxy's datacenter, remoteGateway one in the
	// target's.
	localGateway  gatewayMode = "local"
	remoteGateway gatewayMode = "remote"
)

// through is m if that leads through a gateway.
func (m gatewayMode) through() gatewayMode {
	if m == localGateway || m == remoteGateway {
		return m
	}
	return ""
}

const (
	meshGateway = string(api.ServiceKindMeshGateway)
	// maxGatewayNames bounds the services of that kind in one datacenter; each
	// costs a request per poll.
	maxGatewayNames = 4
	// everywhere is a service of every catalog, and no gateway.
	everywhere = "consul"
)

// gateways finds the mesh gateways of a datacenter. It is used by the one
// goroutine that asks its question.
type gateways struct {
	c          *Catalog
	datacenter string // empty for the agent's own
	remote     bool
	skipped    skipLogger
}

// watchGateways keeps the set of the mesh gateways fresh that lead to another
// datacenter by the mode. Gateways come and go less than what is behind them.
func (c *Catalog) watchGateways(mode gatewayMode, datacenter string, poll time.Duration, u *usage, notify func()) setWatch {
	g := &gateways{c: c, remote: mode == remoteGateway, skipped: skipLogger{logger: c.o.Logger, service: meshGateway}}
	name := "mesh gateways"
	if g.remote {
		g.datacenter = datacenter
		name += " of " + datacenter
	}
	return c.watchSet(u, setOptions{
		name:   name,
		fetch:  g.fetch,
		pace:   func() time.Duration { return u.pace(poll) },
		remote: g.remote,
		notify: notify,
	})
}

func (g *gateways) fetch(ctx context.Context) (upstream.Set, error) {
	names, err := g.names(ctx)
	if err != nil {
		return upstream.Set{}, err
	}
	var found []*api.ServiceEntry
	hidden := false
	for _, name := range names {
		q := g.options()
		entries, meta, err := g.c.o.Client.Health().Service(name, "", true, q.WithContext(ctx))
		if err != nil {
			return upstream.Set{}, err
		}
		hidden = hidden || meta.ResultsFilteredByACLs
		found = append(found, slices.DeleteFunc(entries, func(e *api.ServiceEntry) bool {
			return e == nil || e.Service == nil || string(e.Service.Kind) != meshGateway
		})...)
	}
	set, skipped := setOf(found, answerScope{
		service:    meshGateway,
		datacenter: g.datacenter,
		remote:     func(string) bool { return g.remote },
	}, false)
	set.Filtered = hidden
	g.skipped.log(skipped)
	return set, nil
}

func (g *gateways) options() *api.QueryOptions {
	return &api.QueryOptions{Datacenter: g.datacenter, AllowStale: true}
}

// names are the services of the kind. An agent that does not filter answers
// with every service there is; then only the name that Consul's own tools
// register a gateway under tells one.
func (g *gateways) names(ctx context.Context) ([]string, error) {
	q := g.options()
	q.Filter = `ServiceKind == "` + meshGateway + `"`
	services, _, err := g.c.o.Client.Catalog().Services(q.WithContext(ctx))
	if err != nil {
		return nil, err
	}
	if _, unfiltered := services[everywhere]; unfiltered {
		return []string{meshGateway}, nil
	}
	names := slices.Sorted(maps.Keys(services))
	return names[:min(len(names), maxGatewayNames)], nil
}

// throughGateways is the set of the gateways in place of what is behind them,
// of which there is at least one: the identity to be proved is that one's, end
// to end.
func throughGateways(gateways, behind upstream.Set) upstream.Set {
	out := upstream.Set{Endpoints: slices.Clone(gateways.Endpoints), Filtered: gateways.Filtered}
	for i := range out.Endpoints {
		out.Endpoints[i].Identity = behind.Endpoints[0].Identity
	}
	if len(out.Endpoints) == 0 {
		out.Reason = "no mesh gateway on the way is healthy"
	}
	return out
}
