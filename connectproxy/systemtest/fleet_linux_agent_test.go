//go:build linux

package systemtest_test

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"connect-proxy/connectproxy/agenttest"
	"connect-proxy/connectproxy/agenttest/agentbuild"
	"connect-proxy/connectproxy/queue"
)

// plainBinary builds the program as it is shipped, without the race detector: many
// of it must fit on one machine, and their memory is measured.
func plainBinary(t *testing.T) string {
	t.Helper()
	root, err := agentbuild.Root()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "connect-proxy")
	cmd := exec.Command("go", "build", "-trimpath", "-o", path, ".")
	cmd.Dir, cmd.Env = root, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return path
}

// shortDir is a directory for sockets, whose paths may not be long.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "fleet") //nolint:usetesting // a test's own directory has a name that is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// upstreamSockets are upstreams on sockets in dir, since ports are scarce.
func upstreamSockets(dir string, names ...string) []api.Upstream {
	var ups []api.Upstream
	for _, n := range names {
		ups = append(ups, api.Upstream{DestinationName: n, LocalBindSocketPath: filepath.Join(dir, n)})
	}
	return ups
}

func (s *sockets) inEveryState(t *testing.T, a *agenttest.Agent, use func()) {
	t.Helper()
	use()
	s.within(t, "at the start", queue.MaxConnections)
	for end := time.Now().Add(3 * time.Second); time.Now().Before(end); pause(50 * time.Millisecond) {
		use()
	}
	s.within(t, "in use", queue.MaxConnections)
	a.RotateRoot()
	use()
	waiting(t, func() { pause(4 * time.Second) })
	s.within(t, "during a rotation of the CA", queue.MaxConnections)
	a.Kill()
	waiting(t, func() { pause(2 * time.Second) })
	use()
	a.Start()
	waiting(t, func() { pause(5 * time.Second) })
	use()
	s.within(t, "after an outage", queue.MaxConnections)
}

func TestAProxyHasThreeConnectionsToItsAgentInEveryState(t *testing.T) {
	agenttest.SkipShort(t)
	t.Run("registered", func(t *testing.T) {
		parallel(t)
		a := agenttest.Modern(t, agenttest.Options{Persist: true})
		backend := app(t, "db")
		dir := shortDir(t)
		names := []string{"web"}
		for i := range 40 {
			names = append(names, fmt.Sprintf("absent-%d", i))
		}
		s := watchSockets(t, a)
		// It calls itself: it is the only proxy of this agent.
		sidecar{name: "web", app: portOf(backend), port: agenttest.FreePort(t), upstreams: upstreamSockets(dir, names...)}.start(t, a)
		a.WaitConnect("web", 1)
		s.inEveryState(t, a, func() {
			reaches(t, filepath.Join(dir, "web"), "db")
			for i := range 5 {
				if err := unanswered(filepath.Join(dir, names[i+1])); err != nil {
					t.Error(err)
				}
			}
		})
	})
	t.Run("that registers itself", func(t *testing.T) {
		parallel(t)
		a := agenttest.Modern(t, agenttest.Options{Persist: true})
		backend := app(t, "db")
		port := agenttest.FreePorts(t, 2)
		a.Register(&api.AgentServiceRegistration{Name: "web", Port: portOf(backend)})
		s := watchSockets(t, a)
		byName := filepath.Join(shortDir(t), "by-name")
		runProxy(t, a, "-service", "web", "-register", "-listen", at(port), "-service-addr", at(portOf(backend)),
			"-upstream", fmt.Sprintf("web:%d", port+1), "-by-name-addr", "unix:"+byName, "-by-name-allow", "*").ready()
		a.WaitConnect("web", 1)
		s.inEveryState(t, a, func() {
			reaches(t, at(port+1), "db")
			agenttest.Eventually(t, soon, func() error { return answeredByName(byName, "web", "db") })
			for i := range 5 {
				if err := answeredByName(byName, fmt.Sprintf("absent-%d", i), "db"); err == nil {
					t.Errorf("absent-%d is there", i)
				}
			}
		})
	})
	t.Run("of a file", func(t *testing.T) {
		parallel(t)
		a := agenttest.Modern(t, agenttest.Options{Persist: true})
		backend := app(t, "db")
		port := agenttest.FreePort(t)
		dir := shortDir(t)
		file := filepath.Join(dir, "web.hcl")
		text := fmt.Sprintf(`service_name = "web"
public_listener {
  bind_address          = "127.0.0.1"
  bind_port             = %d
  local_service_address = %q
}
`, port, at(portOf(backend)))
		for _, name := range []string{"web", "absent-0", "absent-1", "absent-2", "absent-3"} {
			text += fmt.Sprintf("upstream {\n  destination_name       = %q\n  local_bind_socket_path = %q\n}\n", name, filepath.Join(dir, name))
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		a.Register(&api.AgentServiceRegistration{Name: "web", Port: portOf(backend)})
		s := watchSockets(t, a)
		runProxy(t, a, "-config-file", file, "-register").ready()
		a.WaitConnect("web", 1)
		s.inEveryState(t, a, func() {
			reaches(t, filepath.Join(dir, "web"), "db")
			if err := unanswered(filepath.Join(dir, "absent-1")); err != nil {
				t.Error(err)
			}
		})
	})
	t.Run("managed", func(t *testing.T) {
		parallel(t)
		backend := app(t, "db")
		port := agenttest.FreePort(t)
		a := agenttest.Managed(t, agenttest.Options{Persist: true, HCL: []string{
			agenttest.ManagedService{Name: "web", Port: portOf(backend), Command: command(t), Upstreams: []agenttest.ManagedUpstream{
				{Name: "web", BindPort: port}, {Name: "absent", BindPort: agenttest.FreePort(t)},
			}}.Text(),
		}})
		s := watchSockets(t, a)
		passes(t, a, "web-proxy")
		a.WaitSnapshot("web-proxy")
		s.inEveryState(t, a, func() { reaches(t, at(port), "db") })
	})
}

// answeredByName is answeredBy for a service that is named at the socket of by_name.
func answeredByName(socket, service, name string) error {
	c, err := net.Dial("unix", socket)
	if err != nil {
		return err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(soon))
	in := bufio.NewReader(c)
	_, _ = fmt.Fprintf(c, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n", service, service)
	r, err := http.ReadResponse(in, &http.Request{Method: http.MethodConnect})
	if err != nil {
		return err
	}
	if r.StatusCode != http.StatusOK {
		return errors.New(r.Status)
	}
	got, err := (&client{Conn: c, r: in}).ask("hello")
	if err == nil && got != name {
		err = fmt.Errorf("%s answers, not %s", got, name)
	}
	return err
}

// fleet is many sidecars of one agent, each with five upstreams to others.
type fleet struct {
	t     *testing.T
	agent *agenttest.Agent
	dir   string
	size  int
}

const fleetUpstreams = 5

func (f *fleet) name(i int) string { return fmt.Sprintf("s%d", i%f.size) }

func (f *fleet) socket(i, to int) string { return filepath.Join(f.dir, f.name(i), f.name(i+to)) }

// start registers all services, then runs all proxies at once.
func (f *fleet) start(binary string, app int) {
	f.t.Helper()
	for i := range f.size {
		if err := os.Mkdir(filepath.Join(f.dir, f.name(i)), 0o700); err != nil {
			f.t.Fatal(err)
		}
		var names []string
		for to := 1; to <= fleetUpstreams; to++ {
			names = append(names, f.name(i+to))
		}
		sidecar{
			name: f.name(i), app: app, port: agenttest.FreePort(f.t),
			upstreams: upstreamSockets(filepath.Join(f.dir, f.name(i)), names...),
		}.register(f.agent)
	}
	for i := range f.size {
		agenttest.StartProcess(f.t, agenttest.ProcessOptions{
			Path: binary, Args: []string{"-sidecar-for", f.name(i)}, Env: []string{"CONSUL_HTTP_ADDR=" + f.agent.HTTPAddr},
		})
	}
}

// carries waits until every upstream is answered.
func (f *fleet) carries(within time.Duration) {
	f.t.Helper()
	began := time.Now()
	for i := range f.size {
		for to := 1; to <= fleetUpstreams; to++ {
			agenttest.Eventually(f.t, max(within-time.Since(began), time.Second), func() error {
				return answeredBy(f.socket(i, to), "app")
			})
		}
	}
	f.t.Logf("every one of %d upstreams is answered %s later", f.size*fleetUpstreams, time.Since(began).Round(100*time.Millisecond))
}

// usable asks the agent as others on the machine do, each time by a connection
// of its own, until stop is called. While down returns true it may fail.
func (f *fleet) usable(down func() bool) (stop func()) {
	client, err := api.NewClient(&api.Config{Address: f.agent.HTTPAddr, HttpClient: &http.Client{
		Transport: &http.Transport{DisableKeepAlives: true}, Timeout: soon,
	}})
	if err != nil {
		f.t.Fatal(err)
	}
	end := make(chan struct{})
	var all sync.WaitGroup
	all.Go(func() {
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for n := 0; ; n++ {
			before := down()
			_, err := client.Agent().Members(false)
			if err == nil {
				err = client.Agent().ServiceRegister(&api.AgentServiceRegistration{Name: "other", Port: 1 + n%1000})
			}
			if err != nil && !before && !down() {
				f.t.Errorf("another user of the agent: %v", err)
			}
			select {
			case <-tick.C:
			case <-end:
				return
			}
		}
	})
	return func() { close(end); all.Wait() }
}

func TestAFleetSharesAnAgentWithDefaultLimits(t *testing.T) {
	agenttest.SkipShort(t)
	binary := plainBinary(t)
	a := agenttest.Modern(t, agenttest.Options{Persist: true, LogLevel: "warn"})
	f := &fleet{t: t, agent: a, dir: shortDir(t), size: 60}
	var mu sync.Mutex // guards restarting
	restarting := false
	stop := f.usable(func() bool { mu.Lock(); defer mu.Unlock(); return restarting })
	defer stop()
	restart := func(on bool) { mu.Lock(); defer mu.Unlock(); restarting = on }

	s := watchSockets(t, a)
	f.start(binary, portOf(app(t, "app")))
	f.carries(time.Minute)
	s.settles(t, "a fleet at its start", queue.MaxConnections*f.size)

	restart(true)
	a.Kill()
	pause(3 * time.Second)
	a.Start()
	restart(false)
	began := time.Now()
	f.carries(30 * time.Second)
	// Whoever carries traffic may still go by what it knew before.
	agenttest.Eventually(t, 30*time.Second-time.Since(began), func() error {
		if n := s.count(); n < f.size {
			return fmt.Errorf("%d connections at the agent", n)
		}
		return nil
	})
	s.settles(t, "a fleet after the agent's restart", queue.MaxConnections*f.size)
}

func TestAThousandUpstreamsOfOneSidecar(t *testing.T) {
	agenttest.SkipShort(t)
	binary := plainBinary(t)
	a := agenttest.Modern(t, agenttest.Options{LogLevel: "warn"})
	backend := app(t, "db")
	sidecar{name: "db", app: portOf(backend), port: agenttest.FreePort(t)}.start(t, a)
	a.WaitConnect("db", 1)
	const all, busy = 1000, 20
	const mostResident = 60 // MB
	var names []string
	for i := range all {
		name := fmt.Sprintf("u%d", i)
		names = append(names, name)
		if i < busy {
			configure(t, a, &api.ServiceResolverConfigEntry{
				Kind: api.ServiceResolver, Name: name, Redirect: &api.ServiceResolverRedirect{Service: "db"},
			})
		}
	}
	dir := shortDir(t)
	sidecar{name: "web", app: 1, port: agenttest.FreePort(t), upstreams: upstreamSockets(dir, names...)}.register(a)
	s := watchSockets(t, a)
	began := time.Now()
	p := &proxyProcess{t: t, admin: at(agenttest.FreePort(t))}
	p.Process = agenttest.StartProcess(t, agenttest.ProcessOptions{
		Path: binary, Args: []string{"-sidecar-for", "web", "-admin-addr", p.admin}, Env: []string{"CONSUL_HTTP_ADDR=" + a.HTTPAddr},
	})
	p.ready()
	t.Logf("ready after %s", time.Since(began).Round(10*time.Millisecond))
	for range 5 {
		for i := range busy {
			reaches(t, filepath.Join(dir, names[i]), "db")
		}
	}
	t.Logf("all %d busy upstreams used after %s", busy, time.Since(began).Round(10*time.Millisecond))
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("in use only %s after the start", took)
	}
	agenttest.Eventually(t, 20*time.Second, func() error {
		h, err := p.health()
		if err != nil {
			return err
		}
		for _, l := range h.Listeners {
			if l.Upstream != nil && !l.Upstream.Resolver.Has {
				return fmt.Errorf("upstream %s is not known yet", l.Name)
			}
		}
		return nil
	})
	t.Logf("everything known after %s", time.Since(began).Round(10*time.Millisecond))
	pause(15 * time.Second)
	// At rest memory is collected every two minutes at least.
	agenttest.Eventually(t, 150*time.Second, func() error {
		mb := resident(t, p.Pid())
		if mb > mostResident {
			return fmt.Errorf("%d MB resident", mb)
		}
		t.Logf("%d MB resident", mb)
		return nil
	})
	if n := strings.Count(p.Output.String(), "\n"); n > 300 { // of which a hundred are of connections
		t.Errorf("%d lines in the log", n)
	} else {
		t.Logf("%d lines in the log", n)
	}
	s.within(t, "a thousand upstreams", queue.MaxConnections+5) // and db's
}
