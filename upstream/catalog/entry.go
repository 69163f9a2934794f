package catalog

import (
	"cmp"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/hashicorp/consul/api"

	"connect-proxy/upstream"
)

// wanTag names the addresses by which other datacenters reach a node or service.
const wanTag = "wan"

// answerScope is the question that an answer belongs to: what an entry leaves out is
// taken from it.
type answerScope struct {
	service    string
	datacenter string // where the answer comes from; empty if unknown
	remote     func(datacenter string) bool
}

// placedEndpoint is an endpoint and the node it is on.
type placedEndpoint struct {
	upstream.Endpoint
	node string
}

// setOf makes a Set of an answer's entries. With ordered it keeps their order,
// but for instances of one node: no distance tells those apart, and agents
// shuffle them. Skipped are the reasons for which entries could not be used.
func setOf(entries []*api.ServiceEntry, from answerScope, ordered bool) (s upstream.Set, skipped []string) {
	all := make([]*listed, len(entries))
	for i, e := range entries {
		all[i] = &listed{}
		all[i].placed, all[i].problem = from.locate(e)
	}
	return setOfListed(all, ordered)
}

// setOfListed is setOf for entries that have been read.
func setOfListed(all []*listed, ordered bool) (s upstream.Set, skipped []string) {
	found := make([]*placedEndpoint, 0, len(all))
	for _, l := range all {
		switch {
		case l.problem == "":
			found = append(found, &l.placed)
		case !slices.Contains(skipped, l.problem):
			skipped = append(skipped, l.problem)
		}
	}
	if ordered {
		for i, j := 0, 0; i < len(found); i = j {
			for j = i + 1; j < len(found) && found[j].node == found[i].node; j++ {
			}
			slices.SortFunc(found[i:j], (*placedEndpoint).compare)
		}
	} else {
		slices.SortFunc(found, (*placedEndpoint).compare)
	}
	s.Ordered = ordered
	s.Endpoints = make([]upstream.Endpoint, len(found))
	for i, l := range found {
		s.Endpoints[i] = l.Endpoint
	}
	slices.Sort(skipped)
	return s, skipped
}

func (e *placedEndpoint) compare(o *placedEndpoint) int {
	return cmp.Or(strings.Compare(e.ID, o.ID), strings.Compare(e.Address, o.Address))
}

// locate reads one entry. The problem, if any, is why it cannot be dialled.
func (o answerScope) locate(e *api.ServiceEntry) (l placedEndpoint, problem string) {
	switch {
	case e == nil || e.Service == nil || e.Node == nil:
		return l, "an entry without a node or a service"
	case e.Service.PeerName != "":
		// Its identity is in a trust domain whose roots no agent API gives.
		return l, "instances of a peer cluster need a mesh gateway"
	}
	datacenter := cmp.Or(e.Node.Datacenter, o.datacenter)
	host, port := bestAddress(e, o.remote(datacenter))
	w := weight(e)
	switch {
	case host == "" || port == 0:
		return l, "an instance without an address or a port"
	case port < 0 || port > 65535:
		return l, fmt.Sprintf("instance %q on node %q with the port %d, which is none", e.Service.ID, e.Node.Node, port)
	case !dialable(host):
		return l, fmt.Sprintf("instance %q on node %q with the address %.80q, which is none that can be dialled", e.Service.ID, e.Node.Node, host)
	case w == 0:
		return l, "an instance whose weight is 0 while it warns"
	}
	return placedEndpoint{
		node: e.Node.Node,
		Endpoint: upstream.Endpoint{
			ID:      e.Node.Node + "/" + e.Service.ID,
			Address: net.JoinHostPort(host, strconv.Itoa(port)),
			Weight:  w,
			Identity: upstream.Identity{
				Service:    o.identity(e.Service),
				Namespace:  cmp.Or(e.Service.Namespace, "default"),
				Partition:  cmp.Or(e.Service.Partition, "default"),
				Datacenter: datacenter,
			},
		},
	}, ""
}

// identity is the service whose certificate an instance has: its own if it
// speaks TLS itself, else the one it stands for. Consul 1.2 says that in a
// field of another name, and a terminating gateway stands for many; for both it
// is the service that was asked for.
func (o answerScope) identity(s *api.AgentService) string {
	switch {
	case s.Connect != nil && s.Connect.Native:
		return s.Service
	case s.Proxy != nil && s.Proxy.DestinationServiceName != "":
		return s.Proxy.DestinationServiceName
	}
	return o.service
}

// bestAddress is what Envoy is told by Consul: in another datacenter the WAN
// addresses, whether or not the agent translates addresses, and the service's
// before its node's.
func bestAddress(e *api.ServiceEntry, remote bool) (host string, port int) {
	host, port = e.Service.Address, e.Service.Port
	if wan, ok := e.Service.TaggedAddresses[wanTag]; remote && ok {
		host = wan.Address
		port = cmp.Or(wan.Port, port)
	}
	if host == "" {
		host = e.Node.Address
		if wan := e.Node.TaggedAddresses[wanTag]; remote && wan != "" {
			host = wan
		}
	}
	if strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]") {
		host = host[1 : len(host)-1]
	}
	return host, port
}

// dialable reports whether a host is an IP address of somebody, or may be a name.
func dialable(host string) bool {
	if ip, err := netip.ParseAddr(host); err == nil {
		return !ip.IsUnspecified()
	}
	return len(host) <= 253 && !strings.ContainsFunc(host, func(r rune) bool {
		return r <= ' ' || r == 0x7f || strings.ContainsRune("/:[]@?#%\\\"<>", r)
	})
}

// maxWeight is Consul's own bound.
const maxWeight = 65535

// weight is the instance's for its state of health. Agents before 1.2.3 know no
// weights and leave both at 0, which no later one accepts for a passing
// instance.
func weight(e *api.ServiceEntry) int {
	w := e.Service.Weights
	if w.Passing <= 0 {
		return 1
	}
	for _, c := range e.Checks {
		if c != nil && c.Status == api.HealthWarning {
			return min(max(w.Warning, 0), maxWeight)
		}
	}
	return min(w.Passing, maxWeight)
}
