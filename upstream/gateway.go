package upstream

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/hashicorp/consul/api"

	"connect-proxy/connectproxy/watch"
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
// goroutine that runs its watch.
type gateways struct {
	o          ServiceOptions
	datacenter string // empty for the agent's own
	remote     bool
	tell       teller
}

// newGateways returns a Resolver for the mesh gateways that lead to another
// datacenter by the mode. No public endpoint blocks on services of a kind, and
// gateways come and go less than what is behind them: they are polled.
func newGateways(o ServiceOptions, mode gatewayMode, datacenter string, poll time.Duration, i *interest, notify func()) watched {
	g := &gateways{o: o, remote: mode == remoteGateway, tell: teller{logger: o.Logger, service: meshGateway}}
	name := "mesh gateways"
	if g.remote {
		g.datacenter = datacenter
		name += " of " + datacenter
	}
	return watched{interest: i, w: watch.New(watch.Options[Set]{
		Name:   name,
		Fetch:  g.fetch,
		Equal:  Set.equal,
		Pace:   func() time.Duration { return i.pace(poll) },
		Turn:   i.enter(g.remote),
		Notify: notify,
		Logger: o.Logger,
	})}
}

func (g *gateways) fetch(ctx context.Context, _ watch.Cursor, _ time.Duration) (Set, watch.Cursor, error) {
	names, err := g.names(ctx)
	if err != nil {
		return Set{}, watch.Cursor{}, err
	}
	var found []*api.ServiceEntry
	hidden := false
	for _, name := range names {
		q := g.options()
		entries, meta, err := g.o.Client.Health().Service(name, "", true, q.WithContext(ctx))
		if err != nil {
			return Set{}, watch.Cursor{}, err
		}
		hidden = hidden || meta.ResultsFilteredByACLs
		found = append(found, slices.DeleteFunc(entries, func(e *api.ServiceEntry) bool {
			return e == nil || e.Service == nil || string(e.Service.Kind) != meshGateway
		})...)
	}
	set, leftOut := setOf(found, asked{
		service:    meshGateway,
		datacenter: g.datacenter,
		remote:     func(string) bool { return g.remote },
	}, false)
	set.Filtered = hidden
	g.tell.leftOut(leftOut)
	return set, watch.Cursor{}, nil
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
	services, _, err := g.o.Client.Catalog().Services(q.WithContext(ctx))
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
func throughGateways(gateways, behind Set) Set {
	out := Set{Endpoints: slices.Clone(gateways.Endpoints), Filtered: gateways.Filtered}
	for i := range out.Endpoints {
		out.Endpoints[i].Identity = behind.Endpoints[0].Identity
	}
	if len(out.Endpoints) == 0 {
		out.Reason = "no mesh gateway on the way is healthy"
	}
	return out
}
