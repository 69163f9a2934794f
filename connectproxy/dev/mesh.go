package dev

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"

	"connect-proxy/connectproxy/devagent"
)

// Options describe a mesh.
type Options struct {
	// HTTPAddr is where the agent listens, host:port of the loopback; empty means
	// 127.0.0.1:8500, or a free port where that is taken.
	HTTPAddr string
	// Program is the path of connect-proxy; empty means the running executable.
	Program string
	// LogLevel is the proxies', as connect-proxy's -log-level takes it; empty means
	// "info".
	LogLevel string
	// Out gets the guide of what to try, once. Required.
	Out io.Writer
	// Logs gets what the proxies log from when all is ready, or all of it where the
	// start fails; it is written to by one goroutine at a time. Required.
	Logs io.Writer
}

// readyWithin bounds the start, on a machine that does much else.
const readyWithin = 30 * time.Second

// Mesh is an agent, two services and their proxies.
type Mesh struct {
	o     Options
	agent *devagent.Agent
	logs  *logs
	ports ports
	// The listeners of what runs in this process.
	http, api, web net.Listener
}

// New binds the ports of what runs in this process, and starts nothing. An error
// says which address is taken or wrong. What New has bound is closed by Run, which
// has to be called.
func New(o Options) (*Mesh, error) {
	if o.Program == "" {
		path, err := os.Executable()
		if err != nil {
			return nil, fmt.Errorf("finding this program's own file: %w", err)
		}
		o.Program = path
	}
	o.LogLevel = cmp.Or(o.LogLevel, "info")
	agent, err := devagent.New(devagent.Options{})
	if err != nil {
		return nil, err
	}
	m := &Mesh{o: o, agent: agent, logs: &logs{to: o.Logs}}
	if m.http, err = listenAgent(o.HTTPAddr); err != nil {
		return nil, err
	}
	if err := m.listen(); err != nil {
		m.close()
		return nil, err
	}
	return m, nil
}

// listen binds the services and chooses what the proxies will bind.
func (m *Mesh) listen() (err error) {
	if m.web, err = listenNear(8080); err != nil {
		return err
	}
	if m.api, err = listenNear(8081); err != nil {
		return err
	}
	return m.ports.findFree()
}

func (m *Mesh) close() {
	for _, ln := range []net.Listener{m.http, m.web, m.api} {
		if ln != nil {
			ln.Close()
		}
	}
}

// Run runs the mesh until ctx is done, and returns nil then; an error says what did
// not become ready within 30 seconds, or ended by itself. It is called once, and
// returns when its goroutines and children have ended.
func (m *Mesh) Run(ctx context.Context) error {
	began := time.Now()
	defer m.close()
	guard, err := newGuard()
	if err != nil {
		return err
	}
	defer guard.close() // when the children have ended
	// The proxies end first: an agent stops them before it ends itself.
	failed := make(chan error, 8)
	lasting, below := newTasks(context.WithoutCancel(ctx), failed)
	defer below.stop()
	below.run(lasting, "the agent", func(ctx context.Context) error { return m.agent.Run(ctx, m.http) })
	below.run(lasting, "the service api", func(ctx context.Context) error { return serve(ctx, m.api, apiHandler) })
	below.run(lasting, "the service web", func(ctx context.Context) error { return serve(ctx, m.web, webHandler(m.ports.upstream)) })
	children, err := m.launch(guard)
	if err != nil {
		return err
	}
	ctx, above := newTasks(ctx, failed)
	defer above.stop()
	above.run(ctx, children[0].name, children[0].run)
	above.run(ctx, children[1].name, func(ctx context.Context) error {
		// It finds api at once if it begins when api is there.
		if err := m.until(ctx, m.passing(children[0].name)); err != nil {
			return err
		}
		return children[1].run(ctx)
	})
	ready := make(chan error, 1)
	above.run(ctx, "the mesh", func(ctx context.Context) error {
		ready <- m.await(ctx)
		return nil
	})
	select {
	case err = <-ready:
	case err = <-failed:
	}
	if err != nil && ctx.Err() == nil {
		m.logs.show()
		return err
	}
	return m.serve(ctx, time.Since(began), failed)
}

// serve says what to try, unless it was asked to stop by then, and waits for the
// end.
func (m *Mesh) serve(ctx context.Context, took time.Duration, failed <-chan error) error {
	select {
	case <-ctx.Done():
		return nil
	default:
	}
	m.guide(took)
	m.logs.follow()
	select {
	case <-ctx.Done():
		return nil
	case err := <-failed:
		return err
	}
}

// launch registers both services with their proxies, and makes the children.
func (m *Mesh) launch(guard *guard) ([]*child, error) {
	upstream := api.Upstream{DestinationName: "api", LocalBindPort: m.ports.upstream}
	var children []*child
	for _, s := range []struct {
		name       string
		ln         net.Listener
		port, page int
		upstreams  []api.Upstream
	}{
		{"api", m.api, m.ports.apiPublic, m.ports.apiAdmin, nil},
		{"web", m.web, m.ports.webPublic, m.ports.webAdmin, []api.Upstream{upstream}},
	} {
		if err := m.agent.Register(api.AgentServiceRegistration{Name: s.name, Port: portOf(s.ln)}); err != nil {
			return nil, err
		}
		command := []string{m.o.Program, "-admin-addr", loopback(s.page), "-log-level", m.o.LogLevel}
		id, token, err := m.agent.Manage(devagent.ManagedProxy{
			Service: s.name, Port: s.port, Command: command, Upstreams: s.upstreams,
		})
		if err != nil {
			return nil, err
		}
		children = append(children, &child{
			name: id, command: command, env: environment(m.http.Addr().String(), id, token),
			output: m.logs.of(id), guard: guard,
		})
	}
	return children, nil
}

// environment is what an agent gives a proxy that it launches. What would lead
// it to another agent is left out.
func environment(agent, id, token string) []string {
	var env []string
	for _, kv := range os.Environ() {
		tls := strings.HasPrefix(kv, "CONNECT_PROXY_TLS_")
		if !tls && (strings.HasPrefix(kv, "CONSUL_") || strings.HasPrefix(kv, "CONNECT_PROXY_ID=") ||
			strings.HasPrefix(kv, "CONNECT_PROXY_TOKEN=") || strings.HasPrefix(kv, "CONNECT_SIDECAR_FOR=")) {
			continue
		}
		env = append(env, kv)
	}
	return append(env, "CONSUL_HTTP_ADDR=http://"+agent, "CONNECT_PROXY_ID="+id, "CONNECT_PROXY_TOKEN="+token)
}

// await waits until a request has been answered through the mesh.
func (m *Mesh) await(ctx context.Context) error {
	return m.until(ctx, func(ctx context.Context) error {
		err := m.passing("api-proxy", "web-proxy")(ctx)
		if err == nil {
			_, err = get(ctx, "http://"+loopback(portOf(m.web))+"/")
		}
		return err
	})
}

// passing says of the first of the proxies that does not accept connections yet
// that it does not.
func (m *Mesh) passing(proxies ...string) func(context.Context) error {
	return func(context.Context) error {
		for _, id := range proxies {
			if !m.agent.Passing(id) {
				return fmt.Errorf("%s does not accept connections", id)
			}
		}
		return nil
	}
}

// until asks again and again until there is no error, or for too long.
func (m *Mesh) until(ctx context.Context, done func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		err := done(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the mesh is not ready after %s: %w", readyWithin, err)
		case <-tick.C:
		}
	}
}
