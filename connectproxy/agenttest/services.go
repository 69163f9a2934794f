package agenttest

import (
	"encoding/json"
	"fmt"

	"github.com/hashicorp/consul/api"
)

// Register registers a service, which may carry its sidecar, and takes it for
// the agent's: nothing deregisters it before the agent ends.
func (a *Agent) Register(s *api.AgentServiceRegistration) {
	a.t.Helper()
	if err := a.Client.Agent().ServiceRegister(s); err != nil {
		a.t.Fatalf("registering %s: %v", s.Name, err)
	}
}

// Deregister takes a service off the agent, and a managed proxy with it.
func (a *Agent) Deregister(serviceID string) {
	a.t.Helper()
	if err := a.Client.Agent().ServiceDeregister(serviceID); err != nil {
		a.t.Fatalf("deregistering %s: %v", serviceID, err)
	}
}

// WaitCheck waits until the checks of a service on this agent have that status
// together: "passing", "warning" or "critical".
func (a *Agent) WaitCheck(serviceID, status string) {
	a.t.Helper()
	Eventually(a.t, startWithin, func() error {
		got, _, err := a.Client.Agent().AgentHealthServiceByID(serviceID)
		if err == nil && got != status {
			err = fmt.Errorf("%s is %s, not %s", serviceID, got, status)
		}
		return err
	})
}

// WaitConnect waits until n healthy instances answer for a service over
// Connect.
func (a *Agent) WaitConnect(service string, n int) {
	a.t.Helper()
	Eventually(a.t, startWithin, func() error {
		got, _, err := a.Client.Health().Connect(service, "", true, nil)
		if err == nil && len(got) != n {
			err = fmt.Errorf("%s has %d healthy Connect instances, not %d", service, len(got), n)
		}
		return err
	})
}

// ManagedService is a service whose proxy the agent launches, for Options.HCL
// and SetConfig. Only Consul up to 1.5 knows such.
type ManagedService struct {
	Name string
	// ID is the service's; empty is the name.
	ID   string
	Port int
	Tags []string
	// Token is the service's ACL token; empty is none.
	Token string
	// Command is the proxy's; empty is the agent-wide default.
	Command []string
	// Config is the proxy's opaque configuration.
	Config map[string]any
	// Upstreams are the proxy's.
	Upstreams []ManagedUpstream
}

// ManagedUpstream is one upstream of a managed proxy.
type ManagedUpstream struct {
	// Type is "service" or "prepared_query"; empty is "service".
	Type       string         `json:"destination_type,omitempty"`
	Name       string         `json:"destination_name"`
	Datacenter string         `json:"datacenter,omitempty"`
	BindHost   string         `json:"local_bind_address,omitempty"`
	BindPort   int            `json:"local_bind_port"`
	Config     map[string]any `json:"config,omitempty"`
}

// Text is the service as a configuration file.
func (s ManagedService) Text() string {
	proxy := map[string]any{"exec_mode": "daemon"}
	if len(s.Command) > 0 {
		proxy["command"] = s.Command
	}
	if len(s.Config) > 0 {
		proxy["config"] = s.Config
	}
	if len(s.Upstreams) > 0 {
		proxy["upstreams"] = s.Upstreams
	}
	service := map[string]any{
		"name":    s.Name,
		"port":    s.Port,
		"connect": map[string]any{"proxy": proxy},
	}
	for key, value := range map[string]string{"id": s.ID, "token": s.Token} {
		if value != "" {
			service[key] = value
		}
	}
	if len(s.Tags) > 0 {
		service["tags"] = s.Tags
	}
	return mustJSON(map[string]any{"service": service})
}

// ProxyDefaults is the agent-wide default command of managed proxies as a
// configuration file. The key that Consul's documentation names, "command",
// keeps that agent from starting.
func ProxyDefaults(command []string, config map[string]any) string {
	defaults := map[string]any{"exec_mode": "daemon", "daemon_command": command}
	if len(config) > 0 {
		defaults["config"] = config
	}
	return mustJSON(map[string]any{"connect": map[string]any{"proxy_defaults": defaults}})
}

// JoinedTo makes a server of another datacenter join the primary one's, as a
// configuration file. The primary's root signs for both from Consul 1.6 on;
// before that each datacenter has a trust domain of its own.
func JoinedTo(primary *Agent) string {
	return mustJSON(map[string]any{
		"primary_datacenter": primary.Datacenter,
		"retry_join_wan":     []string{primary.WANAddr},
	})
}

// mustJSON encodes what is made of maps, strings and numbers alone.
func mustJSON(v any) string {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		panic(err)
	}
	return string(text)
}
