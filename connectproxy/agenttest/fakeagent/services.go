package fakeagent

import (
	"net/http"
	"net/url"

	"github.com/hashicorp/consul/api"
)

// Instance registers an instance of a service that is reached on a port of the
// loopback: a sidecar proxy without a check.
func (a *Agent) Instance(service string, port int) {
	a.t.Helper()
	a.Register(&api.AgentServiceRegistration{
		Kind: api.ServiceKindConnectProxy, ID: service + "-sidecar-proxy", Name: service + "-sidecar-proxy",
		Address: "127.0.0.1", Port: port,
		Proxy: &api.AgentServiceConnectProxyConfig{DestinationServiceName: service},
	})
}

// Register registers a service.
func (a *Agent) Register(reg *api.AgentServiceRegistration) {
	a.t.Helper()
	a.do(http.MethodPut, "/v1/agent/service/register", reg, nil)
}

// Service is what the agent knows of the service of an ID; nil is nothing.
func (a *Agent) Service(id string) *api.AgentService {
	a.t.Helper()
	var all map[string]*api.AgentService
	a.do(http.MethodGet, "/v1/agent/services", nil, &all)
	return all[id]
}

// Check is a check's status, and empty where there is none.
func (a *Agent) Check(id string) string {
	a.t.Helper()
	var all map[string]*api.AgentCheck
	a.do(http.MethodGet, "/v1/agent/checks", nil, &all)
	if c := all[id]; c != nil {
		return c.Status
	}
	return ""
}

// Forget drops every service and check, as an agent without a disk does that is
// started anew.
func (a *Agent) Forget() {
	a.t.Helper()
	var all map[string]*api.AgentService
	a.do(http.MethodGet, "/v1/agent/services", nil, &all)
	for id := range all {
		a.do(http.MethodPut, "/v1/agent/service/deregister/"+url.PathEscape(id), nil, nil)
	}
}

// Intention says what one service may do to another; either is a name, or "*"
// for all, and action is "allow" or "deny".
func (a *Agent) Intention(source, destination, action string) {
	a.t.Helper()
	if a.managed {
		a.do(http.MethodPost, "/v1/connect/intentions", map[string]string{
			"SourceName": source, "DestinationName": destination, "SourceType": "consul", "Action": action,
		}, nil)
		return
	}
	a.do(http.MethodPut, exact(source, destination), map[string]string{"Action": action}, nil)
}

// DeleteIntention removes the intention between the two. An agent of 1.5 knows
// no such request.
func (a *Agent) DeleteIntention(source, destination string) {
	a.t.Helper()
	a.do(http.MethodDelete, exact(source, destination), nil, nil)
}

func exact(source, destination string) string {
	return "/v1/connect/intentions/exact?" + url.Values{"source": {source}, "destination": {destination}}.Encode()
}
