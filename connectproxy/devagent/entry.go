package devagent

import (
	"github.com/hashicorp/consul/api"
)

// entryView is an instance of a service as health and prepared queries show it.
// The exported names are also those of filter expressions.
type entryView struct {
	Node    nodeView
	Service serviceView
	Checks  []checkView
}

type nodeView struct {
	ID              string
	Node            string
	Address         string
	Datacenter      string
	TaggedAddresses map[string]string
	Meta            map[string]string
	CreateIndex     uint64 `bexpr:"-"`
	ModifyIndex     uint64 `bexpr:"-"`
}

// serviceView is the service of an entry. The pointers are to what one of the
// versions leaves out.
type serviceView struct {
	Kind              string `json:",omitempty"`
	ID                string
	Service           string
	Tags              []string
	Address           string
	Meta              map[string]string
	Port              int
	SocketPath        string `json:",omitempty"`
	Weights           api.AgentWeights
	EnableTagOverride bool
	ProxyDestination  *string        `json:",omitempty"`
	Proxy             map[string]any `bexpr:"-"`
	Connect           map[string]any `bexpr:"-"`
	PeerName          *string        `json:",omitempty"`
	CreateIndex       uint64         `bexpr:"-"`
	ModifyIndex       uint64         `bexpr:"-"`
}

type checkView struct {
	Node        string
	CheckID     string
	Name        string
	Status      string
	Notes       string
	Output      string
	ServiceID   string
	ServiceName string
	ServiceTags []string
	Type        *string  `json:",omitempty"`
	Interval    *string  `json:",omitempty"`
	Timeout     *string  `json:",omitempty"`
	ExposedPort *int     `json:",omitempty"`
	Definition  struct{} `bexpr:"-"`
	CreateIndex uint64   `bexpr:"-"`
	ModifyIndex uint64   `bexpr:"-"`
}

// entry shows an instance.
func (a *Agent) entry(s *service) entryView {
	e := entryView{
		Node: nodeView{
			ID: a.nodeID, Node: a.o.Node, Address: loopback, Datacenter: a.o.Datacenter,
			TaggedAddresses: map[string]string{"lan": loopback, "wan": loopback},
			Meta:            map[string]string{"consul-network-segment": ""},
			CreateIndex:     firstIndex, ModifyIndex: firstIndex,
		},
		Service: a.serviceView(s),
		Checks: []checkView{a.checkView(&check{
			id: "serfHealth", name: "Serf Health Status", status: passing, output: "Agent alive and reachable",
			created: firstIndex, modified: firstIndex,
		}, true)},
	}
	for _, c := range a.checksOf(s.reg.ID) {
		e.Checks = append(e.Checks, a.checkView(c, true))
	}
	return e
}

func (a *Agent) serviceView(s *service) serviceView {
	v := serviceView{
		Kind: string(s.reg.Kind), ID: s.reg.ID, Service: s.reg.Name, Tags: orEmpty(s.reg.Tags),
		Address: s.reg.Address, Meta: s.reg.Meta, Port: s.reg.Port, SocketPath: s.reg.SocketPath,
		Weights: weights(s), EnableTagOverride: s.reg.EnableTagOverride,
		Proxy: map[string]any{}, Connect: map[string]any{},
		CreateIndex: s.created, ModifyIndex: s.modified,
	}
	for key, value := range s.proxy {
		v.Proxy[key] = value
	}
	delete(v.Proxy, "Upstreams")
	if s.reg.Proxy != nil && len(s.reg.Proxy.Upstreams) > 0 {
		v.Proxy["Upstreams"] = catalogUpstreams(s.reg.Proxy.Upstreams, a.o.Managed)
	}
	if s.native() {
		v.Connect["Native"] = true
	}
	if a.o.Managed {
		v.ProxyDestination = new(string)
		return v
	}
	v.PeerName = new(string)
	for key, value := range map[string]any{"Mode": "", "MeshGateway": map[string]any{}, "Expose": map[string]any{}} {
		if _, ok := v.Proxy[key]; !ok {
			v.Proxy[key] = value
		}
	}
	return v
}

// checkView shows a check; in the catalog it has no kind of its own where the
// node is concerned.
func (a *Agent) checkView(c *check, catalog bool) checkView {
	v := checkView{
		Node: a.o.Node, CheckID: c.id, Name: c.name, Status: c.status, Notes: c.notes, Output: c.output,
		ServiceID: c.service, ServiceTags: []string{}, CreateIndex: c.created, ModifyIndex: c.modified,
	}
	if s := a.services[c.service]; s != nil {
		v.ServiceName, v.ServiceTags = s.reg.Name, orEmpty(s.reg.Tags)
	}
	if !catalog {
		v.CreateIndex, v.ModifyIndex = 0, 0
	}
	if !a.o.Managed {
		kind := c.kind
		v.Type, v.Interval, v.Timeout, v.ExposedPort = &kind, new(string), new(string), new(int)
	}
	return v
}
