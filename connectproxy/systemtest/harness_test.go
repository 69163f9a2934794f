package systemtest_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"connect-proxy/connectproxy/agenttest"
	"connect-proxy/listener/listenertest"
)

// These tests run the program itself, built with the race detector where that
// is possible, on real agents.

const (
	// soon is how long a test waits for what should happen at once.
	soon = 30 * time.Second
	// managedStart is the same for a proxy that the agent launches: its check
	// runs every 10 s.
	managedStart = 40 * time.Second
)

// sidecar is a service with a proxy that a modern agent knows.
type sidecar struct {
	name, id  string // id empty: the name
	app, port int
	address   string         // advertised by the proxy; empty leaves it out
	config    map[string]any // of the proxy
	upstreams []api.Upstream
	socket    string // the application's, instead of its port
	tags      []string
	tagged    map[string]api.ServiceAddress
}

func (s sidecar) proxyID() string { return s.serviceID() + "-sidecar-proxy" }

func (s sidecar) serviceID() string {
	if s.id == "" {
		return s.name
	}
	return s.id
}

// register tells the agent of the service and its proxy.
func (s sidecar) register(a *agenttest.Agent) {
	check := net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port))
	if bind, ok := s.config["bind_address"].(string); ok {
		check = net.JoinHostPort(bind, strconv.Itoa(s.port))
	}
	if port, ok := s.config["bind_port"].(int); ok {
		check = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	}
	a.Register(&api.AgentServiceRegistration{
		Name: s.name, ID: s.id, Port: s.app, SocketPath: s.socket, Tags: s.tags,
		Connect: &api.AgentServiceConnect{SidecarService: &api.AgentServiceRegistration{
			Address: s.address, Port: s.port, TaggedAddresses: s.tagged,
			Proxy: &api.AgentServiceConnectProxyConfig{
				Config: s.config, Upstreams: s.upstreams, LocalServiceSocketPath: s.socket,
			},
			Check: &api.AgentServiceCheck{TCP: check, Interval: "1s"},
		}},
	})
}

// start registers the service and runs its proxy, until it is ready.
func (s sidecar) start(t *testing.T, a *agenttest.Agent, args ...string) *proxyProcess {
	t.Helper()
	s.register(a)
	return runProxy(t, a, append([]string{"-sidecar-for", s.serviceID()}, args...)...).ready()
}

// up is an upstream on a port.
func up(name string, port int) api.Upstream {
	return api.Upstream{DestinationName: name, LocalBindPort: port}
}

// proxyProcess is a connect-proxy that the test runs.
type proxyProcess struct {
	*agenttest.Process
	t     *testing.T
	admin string
}

func runProxy(t *testing.T, a *agenttest.Agent, args ...string) *proxyProcess {
	t.Helper()
	return runProxyAt(t, "http://"+a.HTTPAddr, a.Token, args...)
}

func runProxyAt(t *testing.T, agent, token string, args ...string) *proxyProcess {
	t.Helper()
	admin := at(agenttest.FreePort(t))
	env := []string{"CONSUL_HTTP_ADDR=" + agent, "CONSUL_HTTP_TOKEN=" + token}
	args = append([]string{"-admin-addr", admin, "-log-level", "debug"}, args...)
	return &proxyProcess{Process: agenttest.StartProxy(t, env, args...), t: t, admin: admin}
}

// readiness is what /ready answers.
type readiness struct {
	Code    int
	Ready   bool
	Reasons []string
}

func (p *proxyProcess) readiness() (readiness, error) {
	var r readiness
	c := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: soon}
	resp, err := c.Get("http://" + p.admin + "/ready")
	if err != nil {
		return r, err
	}
	defer resp.Body.Close()
	r.Code = resp.StatusCode
	return r, json.NewDecoder(resp.Body).Decode(&r)
}

// ready waits until the proxy says that it is.
func (p *proxyProcess) ready() *proxyProcess {
	p.t.Helper()
	agenttest.Eventually(p.t, soon, func() error {
		r, err := p.readiness()
		if err == nil && (!r.Ready || r.Code != http.StatusOK) {
			err = fmt.Errorf("not ready: %q", r.Reasons)
		}
		return err
	})
	return p
}

// unready waits until the proxy says that it is not, for a reason with text.
func (p *proxyProcess) unready(text string) {
	p.t.Helper()
	agenttest.Eventually(p.t, soon, func() error {
		r, err := p.readiness()
		if err == nil && (r.Ready || r.Code != http.StatusServiceUnavailable || !strings.Contains(strings.Join(r.Reasons, "\n"), text)) {
			err = fmt.Errorf("it says %+v", r)
		}
		return err
	})
}

// calm fails the test if anything was worth a warning.
func calm(t *testing.T, log string) {
	t.Helper()
	for line := range strings.Lines(log) {
		if strings.Contains(line, "[WARN]") || strings.Contains(line, "[ERROR]") {
			t.Errorf("the log has %s", line)
		}
	}
}

// app is an application that puts its name before each line that it sends back.
func app(t *testing.T, name string) *listenertest.Server {
	t.Helper()
	return listenertest.NewServer(t, func(c *net.TCPConn) { answer(c, name) })
}

func answer(c net.Conn, name string) {
	r := bufio.NewReader(c)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		if _, err := io.WriteString(c, name+" "+line); err != nil {
			return
		}
	}
}

func portOf(s *listenertest.Server) int {
	_, port, _ := net.SplitHostPort(s.Addr())
	n, _ := strconv.Atoi(port)
	return n
}

func at(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// client is one end of a connection to an application.
type client struct {
	net.Conn
	t *testing.T
	r *bufio.Reader
}

func dial(t *testing.T, address string) *client {
	t.Helper()
	c := listenertest.Dial(t, networkOf(address), address)
	return &client{Conn: c, t: t, r: bufio.NewReader(c)}
}

func networkOf(address string) string {
	if strings.HasPrefix(address, "/") {
		return "unix"
	}
	return "tcp"
}

// ask sends a line and returns the name of the application that answers.
func (c *client) ask(line string) (string, error) {
	_ = c.SetDeadline(time.Now().Add(soon))
	if _, err := io.WriteString(c, line+"\n"); err != nil {
		return "", err
	}
	got, err := c.r.ReadString('\n')
	if err != nil {
		return "", err
	}
	name, rest, _ := strings.Cut(got, " ")
	if rest != line+"\n" {
		return "", fmt.Errorf("%q came back for %q", rest, line)
	}
	return name, nil
}

// wants asks, and one of the names must answer.
func (c *client) wants(names ...string) {
	c.t.Helper()
	name, err := c.ask("a line of no great length")
	if err != nil || !slices.Contains(names, name) {
		c.t.Fatalf("%q answers, want one of %q: %v", name, names, err)
	}
}

// ended waits until the far side has closed. How long that took its caller
// measures, from before what made it: what is timed here begins at once.
func (c *client) ended(within time.Duration) {
	c.t.Helper()
	_ = c.SetDeadline(time.Now().Add(within))
	_, err := c.r.ReadByte()
	var timeout net.Error
	if err == nil || errors.As(err, &timeout) && timeout.Timeout() {
		c.t.Fatalf("the connection is open after %s: %v", within, err)
	}
}

// reaches waits until a new connection to the address is answered by name: what
// takes effect on an agent takes a moment until it does here.
func reaches(t *testing.T, address, name string) {
	t.Helper()
	agenttest.Eventually(t, soon, func() error { return answeredBy(address, name) })
}

// answeredBy opens a connection and returns an error unless it is name that answers.
func answeredBy(address, name string) error {
	c, err := net.Dial(networkOf(address), address)
	if err != nil {
		return err
	}
	defer c.Close()
	got, err := (&client{Conn: c, r: bufio.NewReader(c)}).ask("hello")
	if err == nil && got != name {
		err = fmt.Errorf("%s answers, not %s", got, name)
	}
	return err
}

// unanswered is an error if a connection to the address is served.
func unanswered(address string) error {
	c, err := net.Dial(networkOf(address), address)
	if err != nil {
		return nil
	}
	defer c.Close()
	if name, err := (&client{Conn: c, r: bufio.NewReader(c)}).ask("hello"); err == nil {
		return fmt.Errorf("%s answers", name)
	}
	return nil
}

// closed waits until nobody listens on the port.
func closed(t *testing.T, port int) {
	t.Helper()
	agenttest.Eventually(t, soon, func() error {
		c, err := net.Dial("tcp", at(port))
		if err == nil {
			c.Close()
			return fmt.Errorf("port %d is open", port)
		}
		return nil
	})
}
