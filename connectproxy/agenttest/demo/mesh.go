package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"time"

	"github.com/hashicorp/consul/api"

	"connect-proxy/connectproxy/agenttest/agentbuild"
)

// mesh is what the story is about. Its methods are the steps, in order.
type mesh struct {
	dir string
	out *story

	proxy, consul string // binaries
	ports         ports
	api, web      *application
	agent         *agent
	client        *api.Client
	// denied is the ID of the intention that denies web to api.
	denied string
}

// ports are the free ones that the demo settled on.
type ports struct {
	http, server, serfLAN, serfWAN int
	apiProxy, webProxy             int
	// upstream is where web's proxy offers api.
	upstream int
}

func (m *mesh) build(ctx context.Context) error {
	m.out.begin("Building connect-proxy and a Consul agent")
	root, err := agentbuild.Root()
	if err != nil {
		return err
	}
	m.proxy = filepath.Join(m.dir, "connect-proxy")
	if runtime.GOOS == "windows" {
		m.proxy += ".exe"
	}
	m.out.printf("building connect-proxy")
	err = m.out.during(ctx, "building connect-proxy", func() error {
		cmd := exec.CommandContext(ctx, "go", "build", "-o", m.proxy, ".")
		cmd.Dir = root
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("building connect-proxy: %w: %s", err, bytes.TrimSpace(out))
		}
		return nil
	})
	if err != nil {
		return err
	}
	m.out.printf("connect-proxy: %s", m.proxy)
	err = m.out.during(ctx, "building Consul", func() (err error) {
		m.consul, err = agentbuild.Path(ctx, agentbuild.Managed, m.out)
		return err
	})
	if err != nil {
		return err
	}
	m.out.printf("Consul %s: %s", agentbuild.Managed.Version, m.consul)
	return nil
}

func (m *mesh) startServices(context.Context) error {
	m.out.begin("Starting two services that know nothing of a mesh")
	if err := m.ports.findFree(); err != nil {
		return err
	}
	upstream := loopback(m.ports.upstream)
	var err error
	if m.api, err = serveHTTP(apiHandler); err != nil {
		return err
	}
	if m.web, err = serveHTTP(webHandler(upstream)); err != nil {
		return err
	}
	m.out.printf("api  http://%s", loopback(m.api.port))
	m.out.printf("web  http://%s  passes requests on to %s, where its proxy will offer api",
		loopback(m.web.port), upstream)
	return nil
}

func (m *mesh) startAgent(ctx context.Context) error {
	m.out.begin("Starting the agent; it is to launch a proxy for each service by itself")
	text := m.agentConfig()
	file := filepath.Join(m.dir, "agent.hcl")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return fmt.Errorf("writing the agent's configuration: %w", err)
	}
	m.out.printf("%s", text)
	var err error
	if m.agent, err = startAgent(m.consul, m.dir, file); err != nil {
		return err
	}
	m.client, err = api.NewClient(&api.Config{
		Address:    loopback(m.ports.http),
		Scheme:     "http",
		HttpClient: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second},
	})
	if err != nil {
		return fmt.Errorf("preparing the agent's client: %w", err)
	}
	err = until(ctx, time.Minute, func() error {
		if err := m.agent.running(); err != nil {
			return err
		}
		leader, err := m.client.Status().Leader()
		if err == nil && leader == "" {
			err = errors.New("there is no leader yet")
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("waiting for the agent: %w", err)
	}
	m.out.printf("the agent answers at http://%s", loopback(m.ports.http))
	return nil
}

func (m *mesh) launchProxies(ctx context.Context) error {
	m.out.begin("Waiting until the agent has launched both proxies and they serve")
	m.out.printf("the agent looks at each proxy's port every 10 s")
	if err := until(ctx, time.Minute, m.proxiesPassing); err != nil {
		return fmt.Errorf("waiting for the proxies: %w", err)
	}
	// The catalog, where web's proxy looks, hears of it a moment later.
	err := until(ctx, 10*time.Second, func() error {
		_, err := m.request(ctx, "/")
		return err
	})
	if err != nil {
		return fmt.Errorf("waiting for a first answer through the mesh: %w", err)
	}
	for _, id := range []string{"web-proxy", "api-proxy"} {
		pid, err := m.proxyPid(id)
		if err != nil {
			return err
		}
		m.out.printf("%s is process %s, launched by the agent (process %d)", id, pid, m.agent.pid())
	}
	return nil
}

// proxiesPassing asks for the agent's own checks of the proxies it launched.
func (m *mesh) proxiesPassing() error {
	if err := m.agent.running(); err != nil {
		return err
	}
	checks, err := m.client.Agent().Checks()
	if err != nil {
		return err
	}
	for _, id := range []string{"service:api-proxy", "service:web-proxy"} {
		if c := checks[id]; c == nil || c.Status != api.HealthPassing {
			return fmt.Errorf("the agent's check %s is not passing", id)
		}
	}
	return nil
}

func (m *mesh) sendRequests(ctx context.Context) error {
	m.out.begin("Sending requests: client -> web -> web's proxy => mTLS => api's proxy -> api")
	for _, path := range []string{"/books", "/books/7", "/authors"} {
		body, err := m.request(ctx, path)
		if err != nil {
			return err
		}
		m.out.printf("GET %-9s %s", path, body)
	}
	return nil
}

func (m *mesh) deny(ctx context.Context) error {
	m.out.begin("Denying web to api by an intention")
	intention := &api.Intention{SourceName: "web", DestinationName: "api", Action: api.IntentionActionDeny}
	id, _, err := m.client.Connect().IntentionCreate(intention, nil) //nolint:staticcheck // the one form that 1.5.3 knows
	if err != nil {
		return fmt.Errorf("creating the intention: %w", err)
	}
	m.denied = id
	m.out.printf("consul intention create -deny web api")
	var refusal error
	var line logLine
	err = until(ctx, 15*time.Second, func() (err error) {
		if _, refusal = m.request(ctx, "/books"); refusal == nil {
			return errors.New("web still reaches api")
		}
		line, err = m.logged("api-proxy", func(l logLine) bool { return l.text("reason") == "denied" })
		return err
	})
	if err != nil {
		return err
	}
	m.out.printf("GET /books    %s", bytes.TrimSpace([]byte(refusal.Error())))
	m.out.printf("and what api's proxy logged of it:")
	m.out.printf("%s", line.show("client", "peer", "reason", "error"))
	return nil
}

func (m *mesh) allow(ctx context.Context) error {
	m.out.begin("Allowing it again")
	if _, err := m.client.Connect().IntentionDelete(m.denied, nil); err != nil { //nolint:staticcheck // as above
		return fmt.Errorf("deleting the intention: %w", err)
	}
	m.out.printf("consul intention delete web api")
	var body string
	err := until(ctx, 15*time.Second, func() (err error) {
		body, err = m.request(ctx, "/books")
		return err
	})
	if err != nil {
		return err
	}
	m.out.printf("GET /books    %s", body)
	return nil
}

// request asks web, as a browser would.
func (m *mesh) request(ctx context.Context, path string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	return get(ctx, client, "http://"+loopback(m.web.port)+path)
}

func (m *mesh) lookFurther(keep bool) {
	m.out.begin("How to look further")
	if !keep {
		m.out.printf("make demo KEEP=1   the same, and keeps the mesh running until Ctrl-C")
		m.out.printf("README.md          managed, registered and file mode; every flag and key")
		return
	}
	m.out.printf("curl http://%s/anything", loopback(m.web.port))
	m.out.printf("curl http://%s/v1/agent/checks?pretty", loopback(m.ports.http))
	m.out.printf("%s intention create -http-addr=%s -deny web api", m.consul, loopback(m.ports.http))
	m.out.printf("tail -f %s", m.logFile("api-proxy"))
	m.out.printf("Ctrl-C ends everything.")
}

func loopback(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }

// findFree takes ports that are free now. All are held until the last is chosen,
// so that no two are the same.
func (p *ports) findFree() error {
	for _, port := range []*int{&p.http, &p.server, &p.serfLAN, &p.serfWAN, &p.apiProxy, &p.webProxy, &p.upstream} {
		ln, err := listenLow()
		if err != nil {
			return fmt.Errorf("choosing a free port: %w", err)
		}
		defer ln.Close()
		*port = ln.Addr().(*net.TCPAddr).Port
	}
	return nil
}

// listenLow takes a port below those that systems give to outgoing connections,
// one of which could otherwise have it before the agent does.
func listenLow() (net.Listener, error) {
	var err error
	for range 100 {
		var ln net.Listener
		if ln, err = net.Listen("tcp", loopback(10240+rand.IntN(20000))); err == nil {
			return ln, nil
		}
	}
	return nil, err
}
