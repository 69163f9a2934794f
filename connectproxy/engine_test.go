package connectproxy

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"connect-proxy/config"
	"connect-proxy/connectproxy/agenttest"
	"connect-proxy/connectproxy/agenttest/fakeagent"
	"connect-proxy/listener"
	"connect-proxy/listener/listenertest"
)

// soon is how long a test waits for what should happen at once.
const soon = 30 * time.Second

// engine is a Proxy under test, on a fake agent.
type engine struct {
	*Proxy
	t      *testing.T
	agent  *fakeagent.Agent
	source *feed
	log    *agenttest.Log
	stop   context.CancelFunc
	ended  chan error
}

// feed is a source that gives what the test puts in.
type feed struct{ next chan sourceResult }

var _ config.Source = (*feed)(nil)

func (f *feed) Next(ctx context.Context) (*config.Config, error) {
	select {
	case p := <-f.next:
		return p.config, p.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (f *feed) Problem() string { return "" }

// startEngine runs a proxy by the first configuration, without an agent where that
// is nil. The test's end stops it unless the test does.
func startEngine(t *testing.T, agent *fakeagent.Agent, first config.Config, options ...func(*Options)) *engine {
	t.Helper()
	log := &agenttest.Log{}
	o := Options{
		Source:       &feed{next: make(chan sourceResult)},
		DrainTimeout: 10 * time.Second,
		Logger:       logTo(log),
	}
	if agent != nil {
		o.Client = agent.Client("")
	}
	for _, set := range options {
		set(&o)
	}
	p, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	e := &engine{Proxy: p, t: t, agent: agent, source: o.Source.(*feed), log: log, stop: cancel, ended: make(chan error, 1)}
	go func() { e.ended <- p.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		e.wait()
		if t.Failed() {
			t.Logf("log of %s:\n%s", first.Service, log)
		}
	})
	e.apply(first)
	return e
}

func logTo(log *agenttest.Log) hclog.Logger {
	return hclog.NewInterceptLogger(&hclog.LoggerOptions{Output: log, Level: hclog.Debug})
}

// wait returns what Run did.
func (e *engine) wait() error {
	e.t.Helper()
	select {
	case err := <-e.ended:
		e.ended <- err
		return err
	case <-time.After(25 * time.Second): // more than two drains
		e.t.Fatal("Run does not return")
		return nil
	}
}

// apply puts a configuration in force and waits for that: the loop takes it a
// second time when it is done with the first, and only then can the goroutine
// that pulls take a third.
func (e *engine) apply(c config.Config) {
	e.t.Helper()
	full := c.WithDefaults()
	for range 3 {
		e.offer(sourceResult{config: &full})
	}
}

func (e *engine) offer(p sourceResult) {
	e.t.Helper()
	select {
	case e.source.next <- p:
	case <-time.After(soon):
		e.t.Fatal("nobody takes the configuration")
	}
}

// ready waits until the proxy is.
func (e *engine) ready() *engine {
	e.t.Helper()
	agenttest.Eventually(e.t, soon, func() error {
		if s := e.Status(); !s.Ready {
			return fmt.Errorf("not ready: %q", s.Reasons)
		}
		return nil
	})
	return e
}

// unready waits until one of the reasons contains text.
func (e *engine) unready(text string) {
	e.t.Helper()
	agenttest.Eventually(e.t, soon, func() error {
		s := e.Status()
		if s.Ready || !strings.Contains(strings.Join(s.Reasons, "\n"), text) {
			return fmt.Errorf("ready %v, reasons %q", s.Ready, s.Reasons)
		}
		return nil
	})
}

// serving is a configuration of a service that listens on port.
func serving(service string, port int, app string) config.Config {
	return config.Config{
		Mode: config.Flags, Service: service,
		Public: &config.Public{Bind: tcp("127.0.0.1", port), Local: addressOf(app)},
	}
}

// calling is a configuration of a service with upstreams: name, port, …
func calling(service string, upstreams ...config.Upstream) config.Config {
	return config.Config{Mode: config.Flags, Service: service, Upstreams: upstreams}
}

func to(name string, port int) config.Upstream {
	return config.Upstream{Destination: config.Destination{Type: config.Service, Name: name}, Bind: tcp("127.0.0.1", port)}
}

func addressOf(s string) config.Address {
	a, err := config.ParseAddress(s)
	if err != nil {
		panic(err)
	}
	return a
}

func at(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }

// talker is a client's end of a connection that the test holds open.
type talker struct {
	net.Conn
	t *testing.T
	r *bufio.Reader
}

func dial(t *testing.T, port int) *talker {
	t.Helper()
	c := listenertest.Dial(t, "tcp", at(port))
	return &talker{Conn: c, t: t, r: bufio.NewReader(c)}
}

// dialPublic comes as another service's proxy would.
func dialPublic(t *testing.T, agent *fakeagent.Agent, as string, port int) *talker {
	t.Helper()
	c, err := tls.Dial("tcp", at(port), &tls.Config{
		Certificates:       []tls.Certificate{agent.Certificate(as)},
		InsecureSkipVerify: true, // the test is about the other side
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return &talker{Conn: c, t: t, r: bufio.NewReader(c)}
}

// echo sends a line and wants it back.
func (c *talker) echo(line string) {
	c.t.Helper()
	if err := c.tryEcho(line); err != nil {
		c.t.Fatal(err)
	}
}

func (c *talker) tryEcho(line string) error {
	_ = c.SetDeadline(time.Now().Add(soon))
	if _, err := io.WriteString(c, line+"\n"); err != nil {
		return err
	}
	got, err := c.r.ReadString('\n')
	if err == nil && !strings.HasSuffix(got, line+"\n") {
		return fmt.Errorf("got %q for %q", got, line)
	}
	return err
}

// ends waits until the far side has closed.
func (c *talker) ends() {
	c.t.Helper()
	_ = c.SetDeadline(time.Now().Add(soon))
	_, err := c.r.ReadByte()
	var timeout net.Error
	if err == nil || errors.As(err, &timeout) && timeout.Timeout() {
		c.t.Fatalf("the connection is open: %v", err)
	}
}

func refused(t *testing.T, port int) {
	t.Helper()
	c, err := net.Dial("tcp", at(port))
	if err == nil {
		c.Close()
		t.Fatalf("port %d is open", port)
	}
}

func listening(port int) error {
	c, err := net.Dial("tcp", at(port))
	if err != nil {
		return err
	}
	return c.Close()
}

// named is an application that puts its name before what it sends back.
func namedApp(t *testing.T, name string) *listenertest.Server {
	return listenertest.NewServer(t, func(c *net.TCPConn) {
		r := bufio.NewReader(c)
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, name+" "+line)
		}
	})
}

// ask sends a line and returns the answer's first word.
func (c *talker) ask(line string) string {
	c.t.Helper()
	_ = c.SetDeadline(time.Now().Add(soon))
	_, _ = io.WriteString(c, line+"\n")
	got, err := c.r.ReadString('\n')
	if err != nil {
		c.t.Fatal(err)
	}
	name, _, _ := strings.Cut(got, " ")
	return name
}

func (e *engine) count(r listener.Reason) int {
	return strings.Count(e.log.String(), "reason="+r.String())
}

// peerShown is the identity that a public listener proves.
func peerShown(t *testing.T, agent *fakeagent.Agent, port int) string {
	t.Helper()
	c := dialPublic(t, agent, "web", port)
	defer c.Close()
	return c.Conn.(*tls.Conn).ConnectionState().PeerCertificates[0].URIs[0].String()
}
