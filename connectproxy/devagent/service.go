package devagent

import (
	"cmp"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/consul/api"
)

// service is one registered service. What it refers to is not altered after its
// registration.
type service struct {
	reg api.AgentServiceRegistration
	// parent is the ID of the service that it was registered along with as a
	// sidecar, and with which it goes.
	parent string
	// managed is what makes it a proxy that the agent launches itself.
	managed *managed
	// proxy is reg.Proxy as it is shown.
	proxy map[string]any
	// view is what /v1/agent/service/:id answers, with the hash in it.
	view map[string]any
	hash string

	created, modified uint64
}

// destination is the service that a proxy represents, empty for no proxy.
func (s *service) destination() string {
	if s.reg.Kind != api.ServiceKindConnectProxy || s.reg.Proxy == nil {
		return ""
	}
	return s.reg.Proxy.DestinationServiceName
}

// represents reports whether connections to the service of that name may be made
// to this instance over mutual TLS.
func (s *service) represents(name string) bool {
	if d := s.destination(); d != "" {
		return strings.EqualFold(d, name)
	}
	return s.native() && strings.EqualFold(s.reg.Name, name)
}

func (s *service) native() bool { return s.reg.Connect != nil && s.reg.Connect.Native }

// put stores a service, or says that there is no room. One that is there
// already keeps its creation.
func (a *Agent) putService(reg api.AgentServiceRegistration, parent string, m *managed) (answer, bool) {
	was := a.services[reg.ID]
	if was == nil && len(a.services) >= maxServices {
		return full("services"), false
	}
	s := &service{reg: reg, parent: parent, managed: m}
	index := a.next()
	s.created, s.modified = index, index
	if was != nil {
		s.created = was.created
	}
	s.proxy = a.proxyShown(reg.Proxy)
	s.view = a.serviceShown(s)
	s.hash = contentHash(s.view)
	if m != nil {
		s.view = m.asService(s)
		s.hash = contentHash(m.shown(reg.ID))
	}
	s.view["ContentHash"] = s.hash
	a.services[reg.ID] = s
	a.servicesIndex = index
	return answer{}, true
}

// removeService drops a service, its checks and its sidecar.
func (a *Agent) removeService(id string) {
	delete(a.services, id)
	for _, c := range a.checksOf(id) {
		a.removeCheck(c)
	}
	for other, s := range a.services {
		if s.parent == id {
			a.removeService(other)
		}
	}
	a.servicesIndex = a.next()
}

// sortedServices are all services by their IDs.
func (a *Agent) sortedServices() []*service {
	all := make([]*service, 0, len(a.services))
	for _, id := range slices.Sorted(maps.Keys(a.services)) {
		all = append(all, a.services[id])
	}
	return all
}

// serviceShown is a service in the words of the agent itself; the hash is
// missing.
func (a *Agent) serviceShown(s *service) map[string]any {
	meta := s.reg.Meta
	if meta == nil {
		meta = map[string]string{}
	}
	v := map[string]any{
		"ID":                s.reg.ID,
		"Service":           s.reg.Name,
		"Tags":              orEmpty(s.reg.Tags),
		"Meta":              meta,
		"Port":              s.reg.Port,
		"Address":           s.reg.Address,
		"Weights":           weights(s),
		"EnableTagOverride": s.reg.EnableTagOverride,
	}
	if s.reg.Kind != "" {
		v["Kind"] = s.reg.Kind
		v["Proxy"] = s.proxy
	}
	if s.reg.SocketPath != "" {
		v["SocketPath"] = s.reg.SocketPath
	}
	if s.native() {
		v["Connect"] = map[string]any{"Native": true}
	}
	if !a.o.Managed {
		v["Datacenter"] = a.o.Datacenter
	}
	if len(s.reg.TaggedAddresses) > 0 {
		v["TaggedAddresses"] = s.reg.TaggedAddresses
	}
	return v
}

func weights(s *service) api.AgentWeights {
	if s.reg.Weights != nil {
		return *s.reg.Weights
	}
	return api.AgentWeights{Passing: 1, Warning: 1}
}

// proxyShown is a proxy's own settings in the words of the version that is
// played.
func (a *Agent) proxyShown(p *api.AgentServiceConnectProxyConfig) map[string]any {
	if p == nil {
		return map[string]any{}
	}
	v := object(p)
	if a.o.Managed {
		for _, later := range []string{"MeshGateway", "Expose", "Mode", "TransparentProxy", "AccessLogs", "EnvoyExtensions"} {
			delete(v, later)
		}
		v["Upstreams"] = shownUpstreams(p.Upstreams, true)
	}
	return v
}

// object is a value as a JSON object.
func object(v any) map[string]any {
	m := map[string]any{}
	text, err := json.Marshal(v)
	if err != nil {
		return m // of what came as JSON: it does not happen
	}
	_ = json.Unmarshal(text, &m)
	return m
}

// contentHash tells one content from another, as Consul's does.
func contentHash(v map[string]any) string {
	text, _ := json.Marshal(v) // keys in their order, so the same text each time
	h := fnv.New64a()
	_, _ = h.Write(text)
	return fmt.Sprintf("%016x", h.Sum64())
}

func orEmpty(s []string) []string {
	if s == nil {
		return []string{}
	}
	return s
}

// nameOf is the ID by which a registration is known.
func nameOf(reg *api.AgentServiceRegistration) string { return cmp.Or(reg.ID, reg.Name) }
