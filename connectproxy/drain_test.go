package connectproxy

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"connect-proxy/config"
	"connect-proxy/connectproxy/agenttest"
	"connect-proxy/connectproxy/agenttest/fakeagent"
	"connect-proxy/listener/listenertest"
)

func TestADrainLetsTheApplicationFinishWithItsUpstreams(t *testing.T) {
	t.Parallel()
	agent := fakeagent.New(t, fakeagent.Options{})
	app, far := namedApp(t, "app"), namedApp(t, "far")
	port := agenttest.FreePorts(t, 3)
	agent.Instance("far", port+2)
	startEngine(t, agent, serving("far", port+2, far.Addr())).ready()
	c := serving("web", port, app.Addr())
	c.Upstreams = []config.Upstream{to("far", port+1)}
	e := startEngine(t, agent, c).ready()
	inbound, outbound := dialPublic(t, agent, "client", port), dial(t, port+1)
	inbound.ask("x")
	outbound.ask("x")

	e.stop()
	e.unready("draining")
	agenttest.Eventually(t, soon, func() error {
		if listening(port) == nil {
			return errors.New("the public port is open")
		}
		return nil
	})
	if got := inbound.ask("x"); got != "app" {
		t.Errorf("inbound: %s", got)
	}
	late := dial(t, port+1)
	if got := late.ask("x"); got != "far" {
		t.Errorf("an upstream connection during the drain: %s", got)
	}
	inbound.Close()
	if got := dial(t, port+1).ask("x"); got != "far" {
		t.Errorf("an upstream connection after the last inbound one: %s", got)
	}
	if got := outbound.ask("x"); got != "far" {
		t.Errorf("outbound: %s", got)
	}
	select {
	case err := <-e.ended:
		t.Fatalf("ended with connections open: %v", err)
	default:
	}
	// The third of them closes with the test, so it is closed here by the proxy.
	outbound.Close()
	late.Close()
}

func TestADrainEndsWhenTheLastConnectionDoes(t *testing.T) {
	t.Parallel()
	agent := fakeagent.New(t, fakeagent.Options{})
	app := listenertest.NewEcho(t)
	port := agenttest.FreePort(t)
	e := startEngine(t, agent, serving("web", port, app.Addr())).ready()
	c := dialPublic(t, agent, "client", port)
	c.echo("x")
	e.stop()
	c.echo("finishing")
	c.Close()
	if err := e.wait(); err != nil {
		t.Errorf("Run returned %v", err)
	}
	if log := e.log.String(); !strings.Contains(log, "drained") || strings.Contains(log, "were cut") {
		t.Error("the log does not say that it drained")
	}
}

func TestWhatIsOpenWhenTheTimeIsUpIsCut(t *testing.T) {
	t.Parallel()
	agent := fakeagent.New(t, fakeagent.Options{})
	app := listenertest.NewEcho(t)
	port := agenttest.FreePorts(t, 2)
	agent.Instance("web", port)
	c := serving("web", port, app.Addr())
	c.Upstreams = []config.Upstream{to("web", port+1)}
	e := startEngine(t, agent, c, func(o *Options) { o.DrainTimeout = 300 * time.Millisecond }).ready()
	conn := dial(t, port+1)
	conn.echo("x")
	start := time.Now()
	e.stop()
	conn.ends()
	if err := e.wait(); err != nil {
		t.Errorf("Run returned %v", err)
	}
	if took := time.Since(start); took < 300*time.Millisecond || took > 15*time.Second {
		t.Errorf("a drain of 300 ms took %s", took)
	}
	if !strings.Contains(e.log.String(), "open connections were cut: connections=2") {
		t.Error("the log does not say how many were cut")
	}
}

// slowEnd is a connection whose end takes until it is released.
type slowEnd struct {
	net.Conn
	closing, release chan struct{}
	once             sync.Once
}

func (c *slowEnd) Close() error {
	c.once.Do(func() { close(c.closing) })
	<-c.release
	return c.Conn.Close()
}

func TestAStrangerWhoTakesNothingKeepsNobodyFromDraining(t *testing.T) {
	t.Parallel()
	e := startEngine(t, fakeagent.New(t, fakeagent.Options{}), serving("web", agenttest.FreePort(t), listenertest.NewEcho(t).Addr())).ready()
	stranger, accepted := listenertest.TCPPair(t)
	c := &slowEnd{Conn: accepted, closing: make(chan struct{}), release: make(chan struct{})}
	served := make(chan struct{})
	request := e.public.Request(c)
	go func() {
		defer close(served)
		request.Serve(t.Context(), c)
	}()
	if _, err := io.WriteString(stranger, "GET /x HTTP/1.1\r\nHost: another\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if r, err := http.ReadResponse(bufio.NewReader(stranger), nil); err != nil || r.StatusCode != http.StatusMisdirectedRequest {
		t.Fatalf("%v, %v", r, err)
	}
	listenertest.Eventually(t, "it is at rest", func() bool { return !request.IdleSince().IsZero() })
	e.stop()
	<-c.closing
	listenertest.Eventually(t, "all others have ended", func() bool { return strings.Contains(e.log.String(), "drained: ") })
	select {
	case err := <-e.ended:
		e.ended <- err
		t.Error("Run has returned before the end of a connection")
	default:
	}
	close(c.release)
	<-served
}

func TestTheConfigurationSaysHowLongToDrainUnlessTheFlagDoes(t *testing.T) {
	t.Parallel()
	agent := fakeagent.New(t, fakeagent.Options{})
	for _, tc := range []struct {
		name   string
		flag   time.Duration
		config *config.Config
		want   time.Duration
	}{
		{"nothing said", 0, nil, 30 * time.Second},
		{"by the configuration", 0, &config.Config{DrainTimeout: 7 * time.Second}, 7 * time.Second},
		{"managed", 0, managed(), 4 * time.Second},
		{"by the flag", 3 * time.Second, managed(), 3 * time.Second},
	} {
		p, err := New(Options{Source: &feed{}, Client: agent.Client(""), DrainTimeout: tc.flag})
		if err != nil {
			t.Fatal(err)
		}
		l := newLoop(p)
		l.config = tc.config
		if got := l.drainTimeout(); got != tc.want {
			t.Errorf("%s: %s", tc.name, got)
		}
	}
}

func managed() *config.Config {
	c := config.Config{Mode: config.Managed}.WithDefaults()
	return &c
}
