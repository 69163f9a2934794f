package systemtest_test

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/hashicorp/consul/api"

	"connect-proxy/connectproxy/agenttest"
)

// tenant is something that listens, on a port or at a socket, and is to be
// reached through two proxies.
type tenant struct {
	name   string
	port   int
	socket string // instead of the port, where the agent knows of sockets
}

// fabric is a set of applications, each behind a proxy of its own, and a proxy
// "web" with an upstream to each.
type fabric struct {
	agent *agenttest.Agent
	stage *stage
	// address is where each application is reached through the mesh.
	address map[string]string
	// host and port are what a PostgreSQL client is given: its host is a
	// directory for a socket.
	host string
	port int
}

// managedFabric has an agent of version 1.5.3 launch all the proxies.
func managedFabric(t *testing.T, apps []tenant) *fabric {
	t.Helper()
	first := agenttest.FreePorts(t, 2*len(apps)+1)
	m := &fabric{address: map[string]string{}, host: "127.0.0.1"}
	// The ports are said, since the agent has only six of its own to give away.
	web := agenttest.ManagedService{
		Name: "web", Port: 1, Command: command(t),
		Config: map[string]any{"bind_port": first + 2*len(apps)},
	}
	var services []string
	for i, app := range apps {
		bind := first + len(apps) + i
		m.address[app.name] = at(bind)
		web.Upstreams = append(web.Upstreams, agenttest.ManagedUpstream{Name: app.name, BindPort: bind})
		services = append(services, agenttest.ManagedService{
			Name: app.name, Port: app.port, Command: command(t),
			Config: map[string]any{"bind_port": first + i},
		}.Text())
		if app.name == "postgres" {
			m.port = bind
		}
	}
	m.agent = agenttest.Managed(t, agenttest.Options{HCL: append(services, web.Text())})
	for _, app := range apps {
		passes(t, m.agent, app.name+"-proxy")
	}
	m.found(t, apps, func() string { return m.agent.ProxyLog("web-proxy") })
	return m
}

// registeredFabric registers sidecars with an agent of version 1.15.4, and runs
// their proxies.
func registeredFabric(t *testing.T, apps []tenant) *fabric {
	t.Helper()
	first := agenttest.FreePorts(t, 2*len(apps)+1)
	m := &fabric{address: map[string]string{}, port: 5432}
	m.agent = agenttest.Modern(t, agenttest.Options{})
	web := sidecar{name: "web", app: 1, port: first + 2*len(apps)}
	started := make([]*proxyProcess, 0, len(apps)+1)
	for i, app := range apps {
		s := sidecar{name: app.name, app: app.port, port: first + i}
		bind := up(app.name, first+len(apps)+i)
		m.address[app.name] = at(bind.LocalBindPort)
		if app.socket != "" {
			m.host = t.TempDir()
			s.app, s.socket = 0, app.socket
			m.address[app.name] = filepath.Join(m.host, fmt.Sprintf(".s.PGSQL.%d", m.port))
			bind = api.Upstream{DestinationName: app.name, LocalBindSocketPath: m.address[app.name]}
		}
		web.upstreams = append(web.upstreams, bind)
		s.register(m.agent)
		started = append(started, runProxy(t, m.agent, "-sidecar-for", app.name))
	}
	web.register(m.agent)
	last := runProxy(t, m.agent, "-sidecar-for", "web")
	for _, p := range append(started, last) {
		p.ready()
	}
	m.found(t, apps, last.Output.String)
	return m
}

// found waits until the log of web's proxy says that it knows where everything
// is.
func (m *fabric) found(t *testing.T, apps []tenant, log func() string) {
	t.Helper()
	for _, app := range apps {
		agenttest.Eventually(t, managedStart, func() error { return hasFound(log(), app.name) })
	}
}
