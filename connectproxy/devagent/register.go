package devagent

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/hashicorp/consul/api"
)

const (
	sidecarSuffix = "-sidecar-proxy"
	// The ports that sidecars without one are given, Consul's.
	firstSidecarPort, lastSidecarPort = 21000, 21255
)

func (a *Agent) register(r *http.Request) answer {
	var reg api.AgentServiceRegistration
	if problem, ok := a.decode(r, &reg); !ok {
		problem.text = strings.TrimPrefix(problem.text, badPrefix) // not here
		return problem
	}
	if reg.Name == "" {
		return answer{status: http.StatusBadRequest, text: "Missing service name"}
	}
	reg.ID = nameOf(&reg)
	sidecar := a.sidecarOf(&reg)
	replace := r.URL.Query().Has("replace-existing-checks") && r.URL.Query().Get("replace-existing-checks") != "false"
	for _, each := range []*api.AgentServiceRegistration{&reg, sidecar} {
		if each == nil {
			continue
		}
		if problem := a.problemOf(each); problem != "" {
			return a.invalid(problem)
		}
		if _, problem := checksIn(each); problem != "" {
			return answer{status: http.StatusBadRequest, text: "Invalid check: " + problem}
		}
	}
	if problem := a.add(reg, "", replace, nil); problem.status != 0 || sidecar == nil {
		return problem
	}
	return a.add(*sidecar, reg.ID, replace, nil)
}

// invalid is the answer to a registration that makes no sense, in the form of
// the library by which agents collect what is wrong.
func (a *Agent) invalid(problem string) answer {
	text := "1 error occurred:\n\t* " + problem + "\n\n"
	if !a.o.Managed {
		text = "Validation failed: " + text
	}
	return answer{status: http.StatusBadRequest, text: text}
}

// add stores a registration that makes sense, with its checks.
func (a *Agent) add(reg api.AgentServiceRegistration, parent string, replace bool, m *managed) answer {
	checks, _ := checksIn(&reg)
	if len(a.checks)+len(checks) > maxChecks {
		return full("checks")
	}
	if reg.Proxy != nil {
		p := *reg.Proxy
		p.Upstreams = withTypes(p.Upstreams)
		reg.Proxy = &p
	}
	if problem, ok := a.putService(reg, parent, m); !ok {
		return problem
	}
	if replace {
		for _, c := range a.checksOf(reg.ID) {
			if !contains(checks, c.id) {
				a.removeCheck(c)
			}
		}
	}
	for _, c := range checks {
		a.putCheck(c)
	}
	a.updateAliases()
	return answer{}
}

// problemOf says what keeps a registration from being taken; empty is nothing.
func (a *Agent) problemOf(reg *api.AgentServiceRegistration) string {
	proxy := reg.Kind == api.ServiceKindConnectProxy
	switch {
	case len(reg.ID) > maxName || len(reg.Name) > maxName:
		return "the service's name or ID is too long"
	case reg.Kind != "" && !proxy:
		return fmt.Sprintf("this agent knows services and connect-proxies, and no %s", reg.Kind)
	case reg.Namespace != "" && reg.Namespace != "default" || reg.Partition != "" && reg.Partition != "default":
		return "namespaces and partitions are Consul Enterprise's"
	case reg.Port < 0 || reg.Port > 65535:
		return fmt.Sprintf("%d is no port", reg.Port)
	case !proxy:
		return ""
	case reg.Proxy == nil || strings.TrimSpace(reg.Proxy.DestinationServiceName) == "":
		return "Proxy.DestinationServiceName must be non-empty for Connect proxy services"
	case reg.Proxy.DestinationServiceName == wildcard:
		return "Proxy.DestinationServiceName must not be a wildcard for Connect proxy services"
	case reg.Port == 0 && a.o.Managed:
		return "Port must be set for a Connect proxy"
	case reg.Port == 0 && reg.SocketPath == "":
		return fmt.Sprintf("Port or SocketPath must be set for a %s", reg.Kind)
	case reg.Connect != nil && reg.Connect.Native:
		return "A Proxy cannot also be Connect Native, only typical services"
	}
	return upstreamProblem(reg.Proxy.Upstreams)
}

// sidecarOf takes the sidecar out of a registration, with the agent's defaults;
// nil if there is none.
func (a *Agent) sidecarOf(reg *api.AgentServiceRegistration) *api.AgentServiceRegistration {
	if reg.Connect == nil || reg.Connect.SidecarService == nil {
		return nil
	}
	s := *reg.Connect.SidecarService
	reg.Connect = &api.AgentServiceConnect{Native: reg.Connect.Native}
	s.ID = reg.ID + sidecarSuffix
	setDefault(&s.Kind, api.ServiceKindConnectProxy)
	setDefault(&s.Name, reg.Name+sidecarSuffix)
	setDefault(&s.Address, reg.Address)
	if len(s.Tags) == 0 {
		s.Tags = reg.Tags
	}
	if len(s.Meta) == 0 {
		s.Meta = reg.Meta
	}
	var p api.AgentServiceConnectProxyConfig
	if s.Proxy != nil {
		p = *s.Proxy
	}
	setDefault(&p.DestinationServiceName, reg.Name)
	setDefault(&p.DestinationServiceID, reg.ID)
	if p.LocalServiceSocketPath == "" && (p.LocalServiceAddress == "" || p.LocalServicePort < 1) {
		if reg.SocketPath != "" {
			p.LocalServiceSocketPath = reg.SocketPath
		} else {
			setDefault(&p.LocalServiceAddress, loopback)
			setDefault(&p.LocalServicePort, reg.Port)
		}
	}
	s.Proxy = &p
	if s.Port == 0 && s.SocketPath == "" {
		s.Port = a.sidecarPort(s.ID)
	}
	if s.Check == nil && len(s.Checks) == 0 {
		s.Checks = sidecarChecks(&s, reg.ID)
	}
	return &s
}

// sidecarPort is the lowest free one, or the one that the sidecar has; zero if
// none is left.
func (a *Agent) sidecarPort(id string) int {
	used := map[int]bool{}
	for other, s := range a.services {
		if other == id && s.reg.Port >= firstSidecarPort && s.reg.Port <= lastSidecarPort {
			return s.reg.Port
		}
		used[s.reg.Port] = true
	}
	for port := firstSidecarPort; port <= lastSidecarPort; port++ {
		if !used[port] {
			return port
		}
	}
	return 0
}

func setDefault[T comparable](value *T, otherwise T) {
	var zero T
	if *value == zero {
		*value = otherwise
	}
}

// Register registers a service, as PUT /v1/agent/service/register does, and
// replaces the one of the same ID. The error is the one a client would be answered.
func (a *Agent) Register(reg api.AgentServiceRegistration) error {
	reg.ID = nameOf(&reg)
	if problem := a.problemOf(&reg); problem != "" {
		return errors.New(problem)
	}
	if _, problem := checksIn(&reg); problem != "" {
		return errors.New(problem)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.add(reg, "", true, nil).err()
}
