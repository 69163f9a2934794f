package connectproxy

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"connect-proxy/config"
	"connect-proxy/connectproxy/agenttest"
	"connect-proxy/connectproxy/agenttest/fakeagent"
	"connect-proxy/connectproxy/agenttest/traffic"
	"connect-proxy/listener"
	"connect-proxy/listener/listenertest"
)

func TestTheFirstConfigurationMustBeValidAndALaterOneMayNot(t *testing.T) {
	t.Parallel()
	agent := fakeagent.New(t, fakeagent.Options{})
	invalid := &config.Invalid{Origin: "test", Mistakes: []config.Mistake{{Field: "service", Problem: "is missing"}}}
	app := listenertest.NewEcho(t)
	port := agenttest.FreePort(t)
	e := startEngine(t, agent, serving("db", port, app.Addr())).ready()
	c := dialPublic(t, agent, "web", port)
	e.offer(sourceResult{err: invalid})
	agenttest.Eventually(t, soon, func() error {
		if got := e.Status().Config.Problem; !strings.Contains(got, "is missing") {
			return fmt.Errorf("problem %q", got)
		}
		return nil
	})
	c.echo("still here")
	if s := e.Status(); !s.Ready {
		t.Errorf("not ready: %q", s.Reasons)
	}
	if n := strings.Count(e.log.String(), "configuration refused"); n != 1 {
		t.Errorf("said %d times", n)
	}
	e.apply(serving("db", port, app.Addr()))
	if got := e.Status().Config.Problem; got != "" {
		t.Errorf("problem %q after a good one", got)
	}
	if n := strings.Count(e.log.String(), "configuration is valid again"); n != 1 {
		t.Errorf("its end is said %d times", n)
	}

	source := &feed{next: make(chan sourceResult, 1)}
	source.next <- sourceResult{err: invalid}
	p, err := New(Options{Source: source, Client: agent.Client("")})
	if err != nil {
		t.Fatal(err)
	}
	var got *config.Invalid
	if err := p.Run(t.Context()); !errors.As(err, &got) {
		t.Errorf("Run returned %v", err)
	}
}

func TestAConfigurationChangeTouchesOnlyWhatItNames(t *testing.T) {
	t.Parallel()
	agent := fakeagent.New(t, fakeagent.Options{})
	one, two, other := namedApp(t, "one"), namedApp(t, "two"), namedApp(t, "other")
	port := agenttest.FreePorts(t, 6)
	public, elsewhere, a, b, c := port, port+1, port+2, port+3, port+4
	agent.Instance("db", public)
	agent.Instance("cache", elsewhere)
	startEngine(t, agent, serving("cache", elsewhere, other.Addr())).ready()
	before := serving("db", public, one.Addr())
	before.Upstreams = []config.Upstream{to("db", a), to("db", b)}
	e := startEngine(t, agent, before).ready()
	dropped, kept := dial(t, a), dial(t, b)
	for _, conn := range []*talker{dropped, kept} {
		if got := conn.ask("x"); got != "one" {
			t.Fatalf("before: %s", got)
		}
	}
	inbound := e.Status().Listeners[0].Live

	after := serving("db", public, two.Addr())
	after.Upstreams = []config.Upstream{to("db", b), to("cache", c)}
	e.apply(after)
	e.ready()
	refused(t, a)
	if got := kept.ask("x"); got != "one" {
		t.Errorf("the connection that was open leads to %s", got)
	}
	if got := dropped.ask("x"); got != "one" {
		t.Errorf("a connection of the listener that is gone leads to %s", got)
	}
	if got := e.Status().Listeners[0].Live; got != inbound {
		t.Errorf("%d inbound connections, there were %d", got, inbound)
	}
	if got := dial(t, b).ask("x"); got != "two" {
		t.Errorf("a new connection leads to %s", got)
	}
	if got := dial(t, c).ask("x"); got != "other" {
		t.Errorf("the new upstream leads to %s", got)
	}
	moved := after
	moved.Upstreams = []config.Upstream{to("cache", b), to("cache", c)}
	e.apply(moved)
	if got := dial(t, b).ask("x"); got != "other" {
		t.Errorf("the upstream with another destination leads to %s", got)
	}
	if got := kept.ask("x"); got != "one" {
		t.Errorf("the connection that was open leads to %s", got)
	}
	if log := e.log.String(); strings.Contains(log, "address already in use") {
		t.Error("an address was bound twice")
	}
}

func TestAConnectionOfADroppedUpstreamEndsWithTheDrainTimeout(t *testing.T) {
	t.Parallel()
	agent := fakeagent.New(t, fakeagent.Options{})
	app := listenertest.NewEcho(t)
	port := agenttest.FreePorts(t, 2)
	agent.Instance("db", port)
	startEngine(t, agent, serving("db", port, app.Addr())).ready()
	e := startEngine(t, agent, calling("web", to("db", port+1)), func(o *Options) { o.DrainTimeout = 200 * time.Millisecond }).ready()
	c := dial(t, port+1)
	c.echo("a")
	e.apply(calling("web"))
	c.ends()
	agenttest.Eventually(t, soon, func() error {
		if n := len(e.Status().Listeners); n != 0 {
			return fmt.Errorf("%d listeners are left", n)
		}
		return nil
	})
}

func TestAnotherServiceNameTakesEffectWithItsLeafAndNotBefore(t *testing.T) {
	t.Parallel()
	agent := fakeagent.New(t, fakeagent.Options{})
	app := listenertest.NewEcho(t)
	port := agenttest.FreePort(t)
	e := startEngine(t, agent, serving("old", port, app.Addr())).ready()
	c := dialPublic(t, agent, "web", port)
	c.echo("before")
	agent.Fail(traffic.Leaf, traffic.Fault{Status: 403, Body: "Permission denied"})
	e.apply(serving("new", port, app.Addr()))
	e.unready("service new")
	if got := peerShown(t, agent, port); got != agent.URI("old") {
		t.Errorf("the identity shown is %s", got)
	}
	agent.Heal()
	e.ready()
	if got := peerShown(t, agent, port); got != agent.URI("new") {
		t.Errorf("the identity shown is %s", got)
	}
	c.echo("after")
	agent.Intention("web", "new", "deny")
	c.ends()
	agenttest.Eventually(t, soon, func() error {
		if e.count(listener.ReasonIntentionRevoked) == 0 {
			return errors.New("no connection ended for an intention")
		}
		return nil
	})
}

func TestListenersToOnePlaceAskTheAgentOnce(t *testing.T) {
	t.Parallel()
	agent := fakeagent.New(t, fakeagent.Options{})
	port := agenttest.FreePorts(t, 3)
	agent.Instance("db", port)
	e := startEngine(t, agent, calling("web", to("db", port), to("db", port+1), to("db", port+2))).ready()
	agenttest.Eventually(t, soon, func() error {
		for _, l := range e.Status().Listeners {
			if !l.Upstream.Resolver.Has {
				return fmt.Errorf("%s knows no instance", l.Address)
			}
		}
		return nil
	})
	if n := agent.Counts(traffic.HealthConnect).Requests; n > 2 {
		t.Errorf("%d requests for one destination", n)
	}
}

func TestAnUpstreamMovesFromLocalhostToItsAddressWithoutAGap(t *testing.T) {
	t.Parallel()
	agent := fakeagent.New(t, fakeagent.Options{})
	app := listenertest.NewEcho(t)
	port := agenttest.FreePorts(t, 2)
	agent.Instance("db", port)
	startEngine(t, agent, serving("db", port, app.Addr())).ready()
	before, after := to("db", port+1), to("db", port+1)
	before.Bind.Host = "localhost"
	e := startEngine(t, agent, calling("web", before)).ready()
	open := dial(t, port+1)
	open.echo("before")
	for _, u := range []config.Upstream{after, before, after} {
		e.apply(calling("web", u))
		dial(t, port+1).echo("after") // apply has returned, so the port must be open
		if s := e.Status(); !s.Ready {
			t.Errorf("bound to %s: %q", u.Bind, s.Reasons)
		}
	}
	open.echo("still here")
	if log := e.log.String(); strings.Contains(log, "address already in use") {
		t.Error("the new listener was bound before the old one had gone")
	}
}
