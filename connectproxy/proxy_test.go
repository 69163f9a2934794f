package connectproxy

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"connect-proxy/config"
	"connect-proxy/connectproxy/agenttest"
	"connect-proxy/connectproxy/agenttest/fakeagent"
	"connect-proxy/connectproxy/agenttest/traffic"
	"connect-proxy/connectproxy/register"
	"connect-proxy/listener/listenertest"
)

func TestTrafficPassesThroughBothSidesOfTheMesh(t *testing.T) {
	t.Parallel()
	agent := fakeagent.New(t, fakeagent.Options{})
	app := listenertest.NewEcho(t)
	port := agenttest.FreePorts(t, 2)
	agent.Instance("db", port)
	server := startEngine(t, agent, serving("db", port, app.Addr())).ready()
	client := startEngine(t, agent, calling("web", to("db", port+1))).ready()

	c := dial(t, port+1)
	c.echo("hello")
	if got := server.Status().Listeners[0]; got.Live != 1 || got.To != app.Addr() || got.Bound != at(port) {
		t.Errorf("public listener: %+v", got)
	}
	up := client.Status().Listeners[0]
	if up.Upstream == nil || len(up.Upstream.Instances) != 1 || up.Upstream.Instances[0].Address != at(port) {
		t.Errorf("upstream listener: %+v", up)
	}
	c.Close()
	agenttest.Eventually(t, soon, func() error {
		for _, want := range []string{agent.URI("web"), "to_upstream=6", "to_client=6", "reason=closed"} {
			if !strings.Contains(server.log.String(), want) {
				return fmt.Errorf("no %s in the server's log", want)
			}
		}
		if !strings.Contains(client.log.String(), agent.URI("db")) {
			return errors.New("the server's identity is not in the client's log")
		}
		return nil
	})
}

func TestAnUpstreamConnectionIsHeldAndThePublicPortClosedUntilThereIsALeaf(t *testing.T) {
	t.Parallel()
	agent := fakeagent.New(t, fakeagent.Options{})
	app := listenertest.NewEcho(t)
	port := agenttest.FreePorts(t, 4)
	agent.Instance("db", port+3)
	startEngine(t, agent, serving("db", port+3, app.Addr())).ready()
	agent.Fail(traffic.Leaf, traffic.Fault{Status: 500, Body: "no leader"})
	both := serving("web", port, app.Addr())
	short := to("db", port+2)
	short.ConnectTimeout = 300 * time.Millisecond
	both.Upstreams = []config.Upstream{to("db", port+1), short}
	e := startEngine(t, agent, both)
	e.unready("no leader")
	e.unready("closed until there is a valid leaf")
	refused(t, port)

	impatient, patient := dial(t, port+2), dial(t, port+1)
	start := time.Now()
	impatient.ends()
	if took := time.Since(start); took > 3*time.Second {
		t.Errorf("connect_timeout of 300 ms took %s", took)
	}
	refused(t, port)
	agent.Heal()
	patient.echo("worth the wait")
	e.ready()
	if err := listening(port); err != nil {
		t.Error(err)
	}
}

func TestATakenPortIsWaitedForAndReadinessNamesIt(t *testing.T) {
	t.Parallel()
	agent := fakeagent.New(t, fakeagent.Options{})
	app := listenertest.NewEcho(t)
	port := agenttest.FreePorts(t, 2)
	agent.Instance("db", port)
	predecessor, err := net.Listen("tcp", at(port))
	if err != nil {
		t.Fatal(err)
	}
	defer predecessor.Close()
	both := serving("db", port, app.Addr())
	both.Upstreams = []config.Upstream{to("db", port+1)}
	e := startEngine(t, agent, both)
	e.unready(fmt.Sprintf("listener public (%s): binding %s: ", at(port), at(port)))
	if err := listening(port + 1); err != nil {
		t.Errorf("the other listener suffers: %v", err)
	}
	predecessor.Close()
	e.ready()
	if n := strings.Count(e.log.String(), "cannot listen"); n != 1 {
		t.Errorf("said %d times", n)
	}
	dial(t, port+1).echo("through")
}

// The first is refused by the system and the second by the engine, while the
// third waits for something else.
func TestAListenerThatCannotBeOpenedSaysItsOwnReasonAndIsLoggedOnce(t *testing.T) {
	t.Parallel()
	agent := fakeagent.New(t, fakeagent.Options{})
	agent.Fail(traffic.Leaf, traffic.Fault{Status: 500, Body: "no leader"})
	port := agenttest.FreePorts(t, 3)
	taken, err := net.Listen("tcp", at(port))
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	c := serving("web", port+2, listenertest.NewEcho(t).Addr())
	odd := to("odd", port+1)
	odd.Balance = "by_the_moon"
	c.Upstreams = []config.Upstream{to("db", port), odd}
	e := startEngine(t, agent, c)
	e.unready(fmt.Sprintf("listener db (%s): binding %s: ", at(port), at(port)))
	e.unready(fmt.Sprintf(`listener odd (%s): upstream odd: unknown balance policy "by_the_moon"`, at(port+1)))
	e.unready(fmt.Sprintf("listener public (%s): closed until there is a valid leaf certificate", at(port+2)))
	if n := strings.Count(strings.Join(e.Status().Reasons, "\n"), "leaf certificate"); n != 1 {
		t.Errorf("%d listeners wait for a leaf certificate: %q", n, e.Status().Reasons)
	}
	for range 5 { // each has the engine try again
		e.apply(c)
	}
	for _, line := range []string{"[WARN]  cannot listen", "[ERROR] cannot open upstream"} {
		if n := len(e.log.Matching(line)); n != 1 {
			t.Errorf("%q was logged %d times", line, n)
		}
	}

	odd.Balance = "by_the_sun"
	c.Upstreams[1] = odd
	e.apply(c)
	e.unready("by_the_sun")
	if n := len(e.log.Matching("[ERROR] cannot open upstream")); n != 2 {
		t.Errorf("two reasons were logged %d times", n)
	}
	agent.Heal()
	taken.Close()
	c.Upstreams = c.Upstreams[:1]
	e.apply(c)
	e.ready()
}

func TestThePublicPortIsClosedWhileTheLeafHasExpired(t *testing.T) {
	t.Parallel()
	agent := fakeagent.New(t, fakeagent.Options{})
	app := listenertest.NewEcho(t)
	port := agenttest.FreePort(t)
	// Long enough to start, and to be called, on a machine that does much else.
	agent.PinLeaf("db", time.Now().Add(-time.Hour), time.Now().Add(8*time.Second))
	e := startEngine(t, agent, serving("db", port, app.Addr())).ready()
	c := dialPublic(t, agent, "web", port)
	c.echo("while it is valid")
	e.unready("expired")
	agenttest.Eventually(t, soon, func() error {
		if listening(port) == nil {
			return errors.New("the port is open")
		}
		return nil
	})
	c.echo("and after")
	agent.RenewLeaf("db")
	e.ready()
	dialPublic(t, agent, "web", port).echo("again")
	c.echo("and still")
}

func TestAStuckFirstLeafQueryDelaysTheStartByASecond(t *testing.T) {
	t.Parallel()
	agent := fakeagent.New(t, fakeagent.Options{})
	agent.StickLeafs()
	app := listenertest.NewEcho(t)
	port := agenttest.FreePort(t)
	startEngine(t, agent, serving("db", port, app.Addr())).ready()
	dialPublic(t, agent, "web", port).echo("served")
}

func TestUnixSocketsWorkOnEverySide(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("not every windows has unix sockets")
	}
	t.Parallel()
	agent := fakeagent.New(t, fakeagent.Options{})
	dir, err := os.MkdirTemp("", "sockets") //nolint:usetesting // t.TempDir's may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	app, err := net.Listen("unix", dir+"/app.sock")
	if err != nil {
		t.Fatal(err)
	}
	defer app.Close()
	go func() {
		for {
			c, err := app.Accept()
			if err != nil {
				return
			}
			go func() { defer c.Close(); _, _ = io.Copy(c, c) }()
		}
	}()
	port := agenttest.FreePort(t)
	agent.Instance("db", port)
	c := serving("db", port, "unix:"+dir+"/app.sock")
	c.Upstreams = []config.Upstream{to("db", 0)}
	c.Upstreams[0].Bind = config.Address{Path: dir + "/up.sock", Mode: 0o600}
	startEngine(t, agent, c).ready()
	conn, err := net.Dial("unix", dir+"/up.sock")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "7 bytes"); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 7)
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != "7 bytes" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestNothingToRunByIsSaidAndStillEndsCleanly(t *testing.T) {
	t.Parallel()
	agent := fakeagent.New(t, fakeagent.Options{})
	for name, o := range map[string]Options{
		"no source":                    {Client: agent.Client("")},
		"a registration of no agent":   {Source: &feed{}, Register: &register.Options{ID: "web-proxy", Name: "web-proxy"}},
		"an admin address for all":     {Source: &feed{}, Client: agent.Client(""), Admin: ":19000"},
		"a registration without an ID": {Source: &feed{}, Client: agent.Client(""), Register: &register.Options{Name: "web-proxy"}},
	} {
		if _, err := New(o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// A whole proxy: what an operator sees of an agent whose certificates are an
// hour ahead of this machine.
func TestAProxyWhoseLeafIsNotValidYetKeepsItsPublicPortClosed(t *testing.T) {
	t.Parallel()
	agent := fakeagent.New(t, fakeagent.Options{})
	now := time.Now()
	agent.PinLeaf("db", now.Add(time.Hour), now.Add(200*time.Hour))
	port := agenttest.FreePort(t)
	e := startEngine(t, agent, serving("db", port, listenertest.NewEcho(t).Addr()))
	e.unready("leaf certificate is not valid before")
	e.unready("the clock here says")
	refused(t, port)
	if log := e.log.String(); strings.Contains(log, "in force") || !strings.Contains(log, "certificates cannot be used by this clock") {
		t.Error("the log does not say it, or says that certificates are in force")
	}
	agent.RenewLeaf("db")
	e.ready()
	dialPublic(t, agent, "web", port).echo("served")
}
