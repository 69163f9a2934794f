package catalog

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/go-hclog"

	"connect-proxy/upstream"
	"connect-proxy/upstream/watch"
)

const (
	// maxTargets bounds what is taken of a chain. Only those up to the one in
	// use are ever asked for.
	maxTargets = 16
	// absentEvery is how often an agent that has no chain for us is asked
	// again: each refusal is an error in its log.
	absentEvery = time.Minute
	// minConnectTimeout and maxConnectTimeout bound what is believed of a
	// ConnectTimeout.
	minConnectTimeout = 10 * time.Millisecond
	maxConnectTimeout = time.Hour
	// maxLogged bounds the messages remembered as logged.
	maxLogged = 64
)

// compiler asks the agent for a destination's compiled discovery chain. It is
// used by the one goroutine that asks its question.
type compiler struct {
	o     ChainOptions
	c     *Catalog
	usage *usage
	// have is the last chain, to be kept where the agent only stumbles.
	have   compiledChain
	logged map[string]bool // nil until something is
	// absent is when the agent last had none.
	absent time.Time
}

// fetch asks for what the agent has in its cache while the destination is in use:
// the agent keeps that fresh by one blocking query of its own for all the proxies
// on its node. At rest it is not made to.
func (c *compiler) fetch(ctx context.Context, _ watch.Cursor, _ time.Duration) (compiledChain, watch.Cursor, error) {
	if !c.absent.IsZero() && time.Since(c.absent) < absentEvery {
		return c.keep(c.plain(ctx)), watch.Cursor{}, nil
	}
	chain, err := c.query(ctx, "")
	switch {
	case err == nil:
		c.absent = time.Time{}
	case !c.have.found && absent(err):
		c.absent = time.Now()
		c.explain(err)
		return c.keep(c.plain(ctx)), watch.Cursor{}, nil
	default:
		return compiledChain{}, watch.Cursor{}, err
	}
	if start := chain.Nodes[chain.StartNode]; start != nil && start.Type != api.DiscoveryGraphNodeTypeResolver {
		c.log(hclog.Warn, "routes and splits are passed over", "they are HTTP's, which this proxy does not look into")
		// Compiled as TCP, the chain is what its resolvers say alone.
		if chain, err = c.query(ctx, "tcp"); err != nil {
			return compiledChain{}, watch.Cursor{}, err
		}
	}
	return c.keep(c.follow(ctx, chain)), watch.Cursor{}, nil
}

func (c *compiler) keep(p compiledChain) compiledChain {
	c.have = p
	return p
}

// query gets the chain, from the agent's cache while the destination is in use.
func (c *compiler) query(ctx context.Context, protocol string) (*api.CompiledDiscoveryChain, error) {
	q := &api.QueryOptions{Namespace: c.o.Namespace, Partition: c.o.Partition}
	if c.usage.recent() {
		cached := *q
		cached.UseCache = true
		soon, cancel := context.WithTimeout(ctx, cacheWait)
		chain, err := c.get(soon, protocol, &cached)
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) {
			return chain, err
		}
	}
	return c.get(ctx, protocol, q)
}

func (c *compiler) get(ctx context.Context, protocol string, q *api.QueryOptions) (*api.CompiledDiscoveryChain, error) {
	answer, _, err := c.c.o.Client.DiscoveryChain().Get(c.o.Name, &api.DiscoveryChainOptions{
		EvaluateInDatacenter: c.o.Datacenter, OverrideProtocol: protocol,
	}, q.WithContext(ctx))
	switch {
	case err != nil:
		return nil, err
	case answer.Chain == nil:
		return nil, errors.New("an answer without a discovery chain")
	}
	return answer.Chain, nil
}

// absent reports whether an answer is the agent's last word: that it knows no
// discovery chains, or shows none to this token.
func absent(err error) bool {
	var status api.StatusError
	if !errors.As(err, &status) {
		return false
	}
	return status.Code >= 400 && status.Code < 500 &&
		status.Code != http.StatusRequestTimeout && status.Code != http.StatusTooManyRequests
}

func (c *compiler) explain(err error) {
	var status api.StatusError
	errors.As(err, &status)
	switch status.Code {
	case http.StatusForbidden:
		c.log(hclog.Warn, "discovery chain not readable, resolving the name alone",
			"the token needs service:read on the service: "+status.Body)
	case http.StatusNotFound:
		c.log(hclog.Info, "no discovery chains, resolving the name alone", "the agent answered 404, as those before Consul 1.6 do")
	default:
		c.log(hclog.Warn, "no discovery chain, resolving the name alone", watch.Explain(err).Error())
	}
}

// log logs each thing once.
func (c *compiler) log(level hclog.Level, message, reason string) {
	if c.logged[message+reason] {
		return
	}
	if c.logged == nil || len(c.logged) >= maxLogged {
		c.logged = make(map[string]bool)
	}
	c.logged[message+reason] = true
	c.c.o.Logger.Log(level, message, "service", c.o.Name, "reason", reason)
}

// plain is what stands in for a chain that there is not: the name as it stands.
func (c *compiler) plain(ctx context.Context) compiledChain {
	q := question{
		service: c.o.Name, namespace: c.o.Namespace, partition: c.o.Partition, datacenter: c.o.Datacenter,
	}
	if q.datacenter != "" && !strings.EqualFold(q.datacenter, c.c.localDatacenter(ctx)) {
		q.gateway = gatewayMode(c.o.MeshGateway).through()
	}
	return compiledChain{targets: []target{{question: q, id: c.o.Name}}}
}

// follow walks a chain from its resolver to its targets, the failover's after
// the first.
func (c *compiler) follow(ctx context.Context, chain *api.CompiledDiscoveryChain) compiledChain {
	start := chain.Nodes[chain.StartNode]
	if start == nil || start.Resolver == nil {
		c.log(hclog.Warn, "no discovery chain, resolving the name alone", "it does not begin with a resolver")
		return c.plain(ctx)
	}
	ids := []string{start.Resolver.Target}
	if f := start.Resolver.Failover; f != nil {
		ids = append(ids, f.Targets...)
	}
	local := chain.Datacenter
	if c.o.Datacenter != "" {
		local = c.c.localDatacenter(ctx)
	}
	p := compiledChain{found: true, written: !chain.Default}
	for _, id := range ids {
		t := chain.Targets[id]
		switch {
		case t == nil || slices.ContainsFunc(p.targets, func(have target) bool { return have.id == id }):
			continue // a failover may name a target twice
		case t.Datacenter == "":
			c.log(hclog.Warn, "target of a discovery chain passed over", id+" is in a peer cluster, which takes a mesh gateway and its certificates")
			continue
		case len(p.targets) == maxTargets:
			c.log(hclog.Warn, "targets of a discovery chain passed over", "there are too many")
			return p
		}
		p.targets = append(p.targets, c.target(id, t, chain, local))
	}
	if len(p.targets) == 0 {
		return c.plain(ctx)
	}
	if chain.Default {
		// No entry asked for the timeout, which is then the agent's default, and
		// the server name follows from the identity.
		p.targets[0].timeout, p.targets[0].sni = 0, ""
	}
	return p
}

// target reads one target. What the agent filled in for what was not asked is
// left out again: an agent without namespaces refuses to be asked by one.
func (c *compiler) target(id string, t *api.DiscoveryTarget, chain *api.CompiledDiscoveryChain, local string) target {
	q := question{
		service:    t.Service,
		namespace:  unless(t.Namespace, chain.Namespace, c.o.Namespace),
		partition:  cmp.Or(foreignPartition(t.SNI, t.Datacenter), c.o.Partition),
		datacenter: unless(t.Datacenter, local, ""),
		filter:     t.Subset.Filter,
		warning:    !t.Subset.OnlyPassing,
	}
	if q.datacenter != "" && !t.External {
		q.gateway = gatewayMode(cmp.Or(c.o.MeshGateway, string(t.MeshGateway.Mode))).through()
	}
	return target{question: q, id: id, sni: t.SNI, timeout: c.timeout(t)}
}

// timeout is the target's own for a connection, or zero where it makes no
// sense: an entry may say 5, which is nanoseconds.
func (c *compiler) timeout(t *api.DiscoveryTarget) time.Duration {
	d := t.ConnectTimeout
	if d == 0 || minConnectTimeout <= d && d <= maxConnectTimeout {
		return d
	}
	c.log(hclog.Warn, "setting is not honoured", fmt.Sprintf(
		"ConnectTimeout %s of service-resolver %q: give a duration of %s to %s with its unit; the default of %s is used",
		d, t.Service, minConnectTimeout, maxConnectTimeout, upstream.DefaultConnectTimeout))
	return 0
}

// unless is name, or otherwise where that is the known one.
func unless(name, known, otherwise string) string {
	if strings.EqualFold(name, known) {
		return otherwise
	}
	return name
}

// foreignPartition is the admin partition in a server name, which has one only
// if it is not the default: [subset.]service.namespace.partition.dc.internal-v1.
// consul/api has no field for it.
func foreignPartition(sni, datacenter string) string {
	prefix, _, found := strings.Cut(sni, "."+datacenter+".internal-v1.")
	if !found {
		return ""
	}
	return prefix[strings.LastIndexByte(prefix, '.')+1:]
}
