package config

import (
	"net/url"
)

// MicroServer is the application behind the public listener, as the proxy itself
// registers it with the agent.
type MicroServer struct {
	// Name is the service's, which is the one that the proxy represents.
	Name string
	// Address is where the application listens; unset means where the public
	// listener leads. One on loopback is registered as the agent's node.
	Address Address
	// HealthCheckURL is asked for whether the application is healthy: http or https,
	// without a user. Empty means that it always is.
	HealthCheckURL string
}

// Listens reports whether applications of Micro connect to the proxy.
func (m *Micro) Listens() bool { return m != nil && !m.Bind.Unset() }

// RegistersApplication reports whether the proxy registers its application, and with
// it itself.
func (c *Config) RegistersApplication() bool { return c.Micro != nil && c.Micro.Server.Name != "" }

// HealthCheckURL is where the application is asked whether it is healthy; empty means
// that nobody is.
func (c *Config) HealthCheckURL() string {
	if !c.RegistersApplication() {
		return ""
	}
	return c.Micro.Server.HealthCheckURL
}

// serverDefaults fills in what the application and the public listener say of each
// other. What c refers to is its own already.
func (c *Config) serverDefaults() {
	if !c.RegistersApplication() {
		return
	}
	server := &c.Micro.Server
	if c.Service == "" {
		c.Service = server.Name
	}
	if c.Public == nil {
		return
	}
	if c.Public.Local.Unset() {
		c.Public.Local = server.Address.onLoopback()
	}
	if server.Address.Unset() {
		server.Address = c.Public.Local
	}
	server.Address = server.Address.onLoopback()
}

// microServer checks what is said of the application.
func (v *checks) microServer(c Config) {
	const field = "micro.server_"
	s := c.Micro.Server
	switch {
	case s.Name == "" && (!s.Address.Unset() || s.HealthCheckURL != ""):
		v.missing(field+"name", "name the service as which the application is registered")
	case s.Name == "":
	case c.Mode == Registered || c.Mode == Managed || c.Mode == Embedded:
		v.addMistake(field+"name", quoted(s.Name), "goes with flags or a file: this proxy and its service are registered already")
	case s.Name != c.Service:
		v.addMistake(field+"name", quoted(s.Name), "not the service that this proxy represents, which is "+quoted(c.Service))
	case c.Micro.ReceiveEvents:
		v.addMistake(field+"name", quoted(s.Name), "excludes receive_events: what comes at the public listener goes to one of them")
	case c.Public == nil || c.Public.Identity != "":
		v.addMistake(field+"name", quoted(s.Name), "registers the application for the mesh, which needs a public_listener with the service's own identity")
	}
	if !s.Address.Unset() {
		v.local(field+"address", s.Address, false)
	}
	if problem := urlProblem(s.HealthCheckURL); s.HealthCheckURL != "" && problem != "" {
		v.addMistake("micro.healthcheck_url", "", problem)
	}
}

// urlProblem does not repeat the URL, which may have a password in it.
func urlProblem(text string) string {
	u, err := url.Parse(text)
	switch {
	case err != nil, u.Scheme != "http" && u.Scheme != "https", u.Hostname() == "":
		return "not a URL such as http://127.0.0.1:9090/health"
	case u.User != nil:
		return "has a user or a password, which pages and logs would show: leave it out"
	}
	return ""
}
