package systemtest_test

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"connect-proxy/connectproxy"
	"connect-proxy/connectproxy/agenttest"
	"connect-proxy/connectproxy/agenttest/traffic"
	"connect-proxy/listener/listenertest"
)

// effect is how soon changes take effect once an agent is back.
const effect = 15 * time.Second

// mesh is two services, db and web, each with a proxy that leads to the other,
// so that each proxy has traffic in both directions.
type mesh struct {
	t       *testing.T
	agent   *agenttest.Agent
	db, web *node
	load    *load
	began   time.Time
	spare   int // the next port for a further upstream of web's
}

// node is one service with its proxy.
type node struct {
	sidecar
	app   *listenertest.Server
	proxy *proxyProcess
	door  *door
	to    int // the port of its upstream
}

// judgedWithin is the handshake timeout, in milliseconds, of proxies whose agent does
// not judge strangers: short, for those to be refused in a test's time, and long enough
// for everybody else on a machine that does much else.
const judgedWithin = 5000

// meshOptions say how a mesh is made; the zero value is proxies that speak to
// the agent itself.
type meshOptions struct {
	// doors puts a door between each proxy and the agent.
	doors bool
	// config is both proxies', and upstream that of both upstreams.
	config, upstream map[string]any
	// token gives a proxy its token; nil is the agent's own.
	token func(service string) string
	args  []string
}

// startMesh starts the proxies and the traffic, and returns once it flows.
func startMesh(t *testing.T, a *agenttest.Agent, o meshOptions) *mesh {
	t.Helper()
	port := agenttest.FreePorts(t, 12)
	m := &mesh{t: t, agent: a, spare: port + 4}
	m.db = m.node("db", "web", port, o)
	m.web = m.node("web", "db", port+2, o)
	a.WaitConnect("db", 1)
	a.WaitConnect("web", 1)
	reaches(t, at(m.db.to), "web")
	reaches(t, at(m.web.to), "db")
	m.began = time.Now()
	m.load = startLoad(t, way{at(m.db.to), "web"}, way{at(m.web.to), "db"})
	m.load.flows(3)
	return m
}

func (m *mesh) node(name, peer string, port int, o meshOptions) *node {
	n := &node{app: app(m.t, name), to: port + 1}
	leads := up(peer, n.to)
	leads.Config = o.upstream
	n.sidecar = sidecar{name: name, app: portOf(n.app), port: port, config: o.config, upstreams: []api.Upstream{leads}}
	n.register(m.agent)
	agent, token := "http://"+m.agent.HTTPAddr, m.agent.Token
	if o.doors {
		n.door = newDoor(m.t, m.agent)
		agent = n.door.url
	}
	if o.token != nil {
		token = o.token(name)
	}
	n.proxy = runProxyAt(m.t, agent, token, append([]string{"-sidecar-for", name}, o.args...)...).ready()
	return n
}

// door is a recorder that can also end what is held, as an agent that stumbles
// does.
type door struct {
	*agenttest.Recorder
	url    string
	server *httptest.Server
	conns  atomic.Int64 // open
}

func newDoor(t *testing.T, a *agenttest.Agent) *door {
	t.Helper()
	d := &door{Recorder: a.Record()}
	d.server = httptest.NewUnstartedServer(d.Front)
	d.server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		switch s {
		case http.StateNew:
			d.conns.Add(1)
		case http.StateClosed, http.StateHijacked:
			d.conns.Add(-1)
		}
	}
	d.server.Start()
	d.url = d.server.URL
	t.Cleanup(func() {
		d.Close()
		d.server.CloseClientConnections()
		d.server.Close()
	})
	return d
}

// fail spoils every answer to both proxies, to the questions that are held too.
func (m *mesh) fail(f traffic.Fault) {
	for _, n := range []*node{m.db, m.web} {
		n.door.Fail(traffic.All, f)
		n.door.server.CloseClientConnections()
	}
}

func (m *mesh) heal() {
	m.db.door.Heal()
	m.web.door.Heal()
}

// caller is an identity that calls without a proxy.
type caller struct {
	t    *testing.T
	name string
	cert tls.Certificate
	// sessions makes the caller resume; nil is a full handshake each time.
	sessions tls.ClientSessionCache
	version  uint16 // the most; zero is the newest
	resumed  bool   // whether the last connection was
}

func newCaller(t *testing.T, a *agenttest.Agent, name string) *caller {
	t.Helper()
	leaf, _, err := a.Client.Agent().ConnectCALeaf(name, nil)
	if err != nil {
		t.Fatalf("asking for the leaf of %s: %v", name, err)
	}
	cert, err := tls.X509KeyPair([]byte(leaf.CertPEM), []byte(leaf.PrivateKeyPEM))
	if err != nil {
		t.Fatalf("reading the leaf of %s: %v", name, err)
	}
	return &caller{t: t, name: name, cert: cert}
}

// call connects to a public listener and exchanges a line.
func (c *caller) call(port int, app string) (*client, error) {
	cfg := &tls.Config{
		Certificates:       []tls.Certificate{c.cert},
		InsecureSkipVerify: true, // the callee is not what is looked at
		MinVersion:         tls.VersionTLS12,
		MaxVersion:         c.version,
		ClientSessionCache: c.sessions,
		ServerName:         "callee",
	}
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: patience}, "tcp", at(port), cfg)
	if err != nil {
		return nil, err
	}
	c.t.Cleanup(func() { conn.Close() })
	c.resumed = conn.ConnectionState().DidResume
	cl := &client{Conn: conn, t: c.t, r: bufio.NewReader(conn)}
	got, err := cl.ask("from " + c.name)
	if err == nil && got != app {
		err = fmt.Errorf("%s answers, not %s", got, app)
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return cl, nil
}

// holds opens n connections.
func (c *caller) holds(n, port int, app string) []*client {
	c.t.Helper()
	var held []*client
	for range n {
		var one *client
		agenttest.Eventually(c.t, soon, func() (err error) {
			one, err = c.call(port, app)
			return err
		})
		held = append(held, one)
	}
	return held
}

// refused fails the test if the caller is served.
func (c *caller) refused(n *node) {
	c.t.Helper()
	if _, err := c.call(n.port, n.name); err == nil {
		c.t.Errorf("%s is served", c.name)
	}
}

// refusedWhile is refused while f goes on: to be refused takes a handshake's time
// where the agent is silent.
func (c *caller) refusedWhile(n *node, f func()) {
	c.t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); c.refused(n) }()
	defer func() { <-done }()
	f()
}

// health is what the proxy says of itself.
func (p *proxyProcess) health() (connectproxy.Status, error) {
	var s connectproxy.Status
	c := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: soon}
	resp, err := c.Get("http://" + p.admin + "/health")
	if err != nil {
		return s, err
	}
	defer resp.Body.Close()
	return s, json.NewDecoder(resp.Body).Decode(&s)
}

// configuredSince is an error if the proxy's configuration has been in force since
// before that time.
func (p *proxyProcess) configuredSince(from time.Time) error {
	age := time.Since(from) // less than what it is when the proxy answers
	s, err := p.health()
	if err == nil && s.Config.AgeSeconds >= age.Seconds() {
		err = errors.New("the configuration is that of before")
	}
	return err
}

// witness sees when a change of intentions and one of web's registration take
// effect.
type witness struct {
	m    *mesh
	who  string
	held *client
}

func (m *mesh) witness(name string) *witness {
	m.t.Helper()
	return &witness{m: m, who: name, held: newCaller(m.t, m.agent, name).holds(1, m.db.port, "db")[0]}
}

// sees changes an intention and a registration, and fails the test if either
// has not taken effect soon enough after the agent was back.
func (w *witness) sees(back time.Time) {
	w.m.t.Helper()
	w.seesWithin(back, effect)
}

// seesWithin is sees with a limit of its own for the intention.
func (w *witness) seesWithin(back time.Time, limit time.Duration) {
	m := w.m
	m.t.Helper()
	port := m.spare
	m.spare++
	m.agent.Intention(w.who, "db", "deny")
	m.web.upstreams = append(m.web.upstreams, up(fmt.Sprintf("spare-%d", port), port))
	m.web.register(m.agent)
	cut := make(chan time.Duration, 1)
	go func() {
		_ = w.held.SetDeadline(back.Add(limit))
		_, _ = w.held.r.ReadByte()
		cut <- time.Since(back)
	}()
	agenttest.Eventually(m.t, time.Until(back.Add(effect)), func() error { return open(port) })
	registered := time.Since(back)
	denied := <-cut
	if denied >= limit {
		m.t.Fatalf("%s is denied and its connection is open after %s", w.who, denied)
	}
	m.t.Logf("an intention was in force %s after the agent was back, a registration %s",
		denied.Round(time.Millisecond), registered.Round(time.Millisecond))
}
