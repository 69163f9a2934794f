package devagent

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"

	"github.com/hashicorp/consul/api"
)

// ManagedProxy is a proxy that is launched for a service as agents up to Consul
// 1.5 launch one. Who launches it is the caller: the agent answers for it, in
// the words of those versions whichever is played.
type ManagedProxy struct {
	// Service is the ID of a registered service.
	Service string
	// Port is where the proxy accepts connections from the mesh, on the
	// loopback.
	Port int
	// Command is what runs the proxy.
	Command []string
	// Config is the proxy's opaque configuration.
	Config map[string]any
	// Upstreams are the proxy's.
	Upstreams []api.Upstream
}

// managed is what is known of a managed proxy beyond its service, which the
// catalog has without its settings.
type managed struct {
	ManagedProxy
	target string // the service's name
	// full is Config with what the agent adds.
	full map[string]any
	// localAddress and localPort are the service's.
	localAddress string
	localPort    int
}

// Manage registers the proxy of a service and returns its ID and token, which a
// proxy is launched with as CONNECT_PROXY_ID and CONNECT_PROXY_TOKEN. The agent has
// no ACLs and asks for no token. The error is about p.
func (a *Agent) Manage(p ManagedProxy) (id, token string, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	target := a.services[p.Service]
	if target == nil {
		return "", "", fmt.Errorf("no service %q is registered", p.Service)
	}
	if problem := upstreamProblem(p.Upstreams); problem != "" {
		return "", "", errors.New(problem)
	}
	m := &managed{
		ManagedProxy: p, target: target.reg.Name,
		localAddress: cmp.Or(target.reg.Address, loopback), localPort: target.reg.Port,
	}
	m.Upstreams = withTypes(p.Upstreams)
	m.full = map[string]any{"bind_address": loopback, "bind_port": p.Port, "local_service_address": m.local()}
	maps.Copy(m.full, p.Config)
	id = p.Service + "-proxy"
	reg := api.AgentServiceRegistration{
		Kind: api.ServiceKindConnectProxy, ID: id, Name: m.target + "-proxy", Port: p.Port,
		Proxy: &api.AgentServiceConnectProxyConfig{DestinationServiceName: m.target, LocalServicePort: m.localPort},
		Check: &api.AgentServiceCheck{
			Name: "Connect Proxy Listening", Interval: "10s",
			TCP: net.JoinHostPort(loopback, fmt.Sprint(p.Port)),
		},
	}
	if problem := a.problemOf(&reg); problem != "" {
		return "", "", errors.New(problem)
	}
	return id, newUUID(), a.add(reg, p.Service, true, m).err()
}

func (m *managed) local() string { return net.JoinHostPort(m.localAddress, fmt.Sprint(m.localPort)) }

// shown is what /v1/agent/connect/proxy/:id answers, without the hash.
func (m *managed) shown(id string) map[string]any {
	v := map[string]any{
		"ProxyServiceID":    id,
		"TargetServiceID":   m.Service,
		"TargetServiceName": m.target,
		"ExecMode":          "daemon",
		"Command":           m.Command,
		"Config":            m.full,
	}
	if len(m.Upstreams) > 0 {
		v["Upstreams"] = shownUpstreams(m.Upstreams, true)
	}
	return v
}

// asService is what /v1/agent/service/:id answers, without the hash.
func (m *managed) asService(s *service) map[string]any {
	return map[string]any{
		"Kind": s.reg.Kind, "ID": s.reg.ID, "Service": s.reg.Name, "Tags": nil, "Meta": nil,
		"Port": s.reg.Port, "Address": loopback,
		"Weights": api.AgentWeights{}, "EnableTagOverride": false,
		"Proxy": map[string]any{
			"DestinationServiceName": m.target,
			"DestinationServiceID":   m.Service,
			"LocalServiceAddress":    m.localAddress,
			"LocalServicePort":       m.localPort,
			"Config":                 m.full,
			"Upstreams":              shownUpstreams(m.Upstreams, true),
		},
	}
}

// launched is what the list of services says of it at the service's own entry.
func (m *managed) launched() map[string]any {
	v := map[string]any{"ExecMode": "daemon", "Command": m.Command, "Config": m.Config}
	if len(m.Upstreams) > 0 {
		v["Upstreams"] = shownUpstreams(m.Upstreams, true)
	}
	return map[string]any{"Proxy": v}
}

func (a *Agent) getManaged(r *http.Request) answer {
	id := r.PathValue("id")
	s := a.services[id]
	if s == nil || s.managed == nil {
		if !a.o.Managed {
			return answer{elsewhere: true}
		}
		return answer{status: http.StatusNotFound, text: "unknown proxy service ID: " + id}
	}
	v := s.managed.shown(id)
	v["ContentHash"] = s.hash
	return answer{body: v, hash: s.hash}
}
