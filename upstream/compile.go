package upstream

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

	"connect-proxy/connectproxy/watch"
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
	// maxTold bounds the messages remembered as logged.
	maxTold = 64
)

// compiler asks the agent for a destination's compiled discovery chain and
// makes a plan of it. It is used by the one goroutine that runs its watch.
type compiler struct {
	o ChainOptions
	// have is the last plan, to be kept where the agent only stumbles.
	have plan
	told map[string]bool
	// absent is when the agent last had none.
	absent time.Time
}

func newCompiler(o ChainOptions) *compiler { return &compiler{o: o, told: make(map[string]bool)} }

// fetch is a poll. It asks for what the agent has in its cache, which the agent
// keeps fresh by one blocking query of its own for all the proxies on its node.
func (c *compiler) fetch(ctx context.Context, _ watch.Cursor, _ time.Duration) (plan, watch.Cursor, error) {
	if !c.absent.IsZero() && time.Since(c.absent) < absentEvery {
		return c.keep(c.plain(ctx)), watch.Cursor{}, nil
	}
	chain, err := c.ask(ctx, "")
	switch {
	case err == nil:
		c.absent = time.Time{}
	case !c.have.chained && absent(err):
		c.absent = time.Now()
		c.explain(err)
		return c.keep(c.plain(ctx)), watch.Cursor{}, nil
	default:
		return plan{}, watch.Cursor{}, err
	}
	if start := chain.Nodes[chain.StartNode]; start != nil && start.Type != api.DiscoveryGraphNodeTypeResolver {
		c.tell(hclog.Warn, "routes and splits are passed over", "they are HTTP's, which this proxy does not look into")
		// Compiled as TCP, the chain is what its resolvers say alone.
		if chain, err = c.ask(ctx, "tcp"); err != nil {
			return plan{}, watch.Cursor{}, err
		}
	}
	return c.keep(c.follow(ctx, chain)), watch.Cursor{}, nil
}

func (c *compiler) keep(p plan) plan {
	c.have = p
	return p
}

func (c *compiler) ask(ctx context.Context, protocol string) (*api.CompiledDiscoveryChain, error) {
	q := &api.QueryOptions{Namespace: c.o.Namespace, Partition: c.o.Partition, UseCache: true}
	answer, _, err := c.o.Client.DiscoveryChain().Get(c.o.Name, &api.DiscoveryChainOptions{
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

// absent says that an answer is the agent's last word: it knows no discovery
// chains, or shows none to this token.
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
		c.tell(hclog.Warn, "discovery chain not readable, resolving the name alone",
			"the token needs service:read on the service: "+status.Body)
	case http.StatusNotFound:
		c.tell(hclog.Info, "no discovery chains, resolving the name alone", "the agent answered 404, as those before Consul 1.6 do")
	default:
		c.tell(hclog.Warn, "no discovery chain, resolving the name alone", watch.Explain(err).Error())
	}
}

// tell logs each thing once.
func (c *compiler) tell(level hclog.Level, message, reason string) {
	if c.told[message+reason] {
		return
	}
	if len(c.told) >= maxTold {
		clear(c.told)
	}
	c.told[message+reason] = true
	c.o.Logger.Log(level, message, "service", c.o.Name, "reason", reason)
}

// plain is the plan without a chain: the name as it stands.
func (c *compiler) plain(ctx context.Context) plan {
	q := question{
		service: c.o.Name, namespace: c.o.Namespace, partition: c.o.Partition, datacenter: c.o.Datacenter,
	}
	if q.datacenter != "" && !strings.EqualFold(q.datacenter, c.local(ctx)) {
		q.gateway = gatewayMode(c.o.MeshGateway).through()
	}
	return plan{targets: []target{{question: q, id: c.o.Name}}}
}

// local is the agent's datacenter, or "" if it is not known.
func (c *compiler) local(ctx context.Context) string {
	if c.o.LocalDatacenter == nil {
		return ""
	}
	return c.o.LocalDatacenter(ctx)
}

// follow walks a chain from its resolver to its targets, the failover's after
// the first.
func (c *compiler) follow(ctx context.Context, chain *api.CompiledDiscoveryChain) plan {
	start := chain.Nodes[chain.StartNode]
	if start == nil || start.Resolver == nil {
		c.tell(hclog.Warn, "no discovery chain, resolving the name alone", "it does not begin with a resolver")
		return c.plain(ctx)
	}
	ids := []string{start.Resolver.Target}
	if f := start.Resolver.Failover; f != nil {
		ids = append(ids, f.Targets...)
	}
	local := chain.Datacenter
	if c.o.Datacenter != "" {
		local = c.local(ctx)
	}
	p := plan{chained: true, written: !chain.Default}
	for _, id := range ids {
		t := chain.Targets[id]
		switch {
		case t == nil || slices.ContainsFunc(p.targets, func(have target) bool { return have.id == id }):
			continue // a failover may name a target twice
		case t.Datacenter == "":
			c.tell(hclog.Warn, "target of a discovery chain passed over", id+" is in a peer cluster, which takes a mesh gateway and its certificates")
			continue
		case len(p.targets) == maxTargets:
			c.tell(hclog.Warn, "targets of a discovery chain passed over", "there are too many")
			return p
		}
		p.targets = append(p.targets, c.target(id, t, chain, local))
	}
	if len(p.targets) == 0 {
		return c.plain(ctx)
	}
	if chain.Default {
		// The timeout is nobody's wish, and the server name follows from the
		// identity.
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
	c.tell(hclog.Warn, "setting is not honoured", fmt.Sprintf(
		"ConnectTimeout %s of service-resolver %q: give a duration of %s to %s with its unit; the default of %s is used",
		d, t.Service, minConnectTimeout, maxConnectTimeout, DefaultConnectTimeout))
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
