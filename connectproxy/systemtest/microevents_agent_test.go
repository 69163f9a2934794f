package systemtest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/hashicorp/consul/api"

	"connect-proxy/connectproxy/agenttest"
	"connect-proxy/connectproxy/agenttest/gomicro"
)

// eventMesh is shop, whose applications publish, billing, which is a service made
// with Go Micro that subscribes and has registered itself, and mail, which
// subscribes by websockets at its proxy.
type eventMesh struct {
	t          *testing.T
	agent      *agenttest.Agent
	billing    *gomicro.Peer
	shop, mail string // where applications connect
	mailProxy  *proxyProcess
}

func newEventMesh(t *testing.T) *eventMesh {
	t.Helper()
	m := &eventMesh{t: t, agent: agenttest.Modern(t, agenttest.Options{})}
	port := agenttest.FreePorts(t, 4)
	m.shop, m.mail = at(port), at(port+1)
	m.billing = gomicro.Subscribe(t, "v5", "billing", "orders", m.agent.HTTPAddr)
	runProxy(t, m.agent, "-service", "billing", "-service-addr", m.billing.Address, "-listen", at(port+2), "-register").ready()
	m.mailProxy = runProxy(t, m.agent, "-service", "mail", "-listen", at(port+3), "-register",
		"-micro-addr", m.mail, "-micro-topics", "orders", "-micro-receive-events").ready()
	runProxy(t, m.agent, "-service", "shop", "-micro-addr", m.shop, "-micro-allow", "billing,mail", "-micro-topics", "orders").ready()
	m.agent.WaitConnect("billing", 1)
	m.agent.WaitConnect("mail", 1)
	// What docs/micro.md has the agents know, for publishers made with Go Micro.
	m.agent.Register(&api.AgentServiceRegistration{
		ID: "orders-connect-proxy", Name: "micro.http.broker", Address: "127.0.0.1", Port: port,
		Tags: []string{`t={"broker":"http","topic":"orders"}`, "v=connect-proxy"},
	})
	return m
}

// listen subscribes a websocket at an address.
func (m *eventMesh) listen(address, query string) *websocket.Conn {
	m.t.Helper()
	c, _, err := websocket.Dial(m.t.Context(), "ws://"+address+"/broker?"+query, nil)
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() { _ = c.CloseNow() })
	return c
}

// heard is the next event that a websocket gets, or "" if none comes in that time.
func (m *eventMesh) heard(c *websocket.Conn, within time.Duration) string {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(m.t.Context(), within)
	defer cancel()
	_, text, err := c.Read(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		return ""
	}
	var e struct{ Body []byte }
	if err == nil {
		err = json.Unmarshal(text, &e)
	}
	if err != nil {
		m.t.Fatal(err)
	}
	return strings.TrimSpace(string(e.Body))
}

// publish publishes by curl at shop.
func (m *eventMesh) publish(name string) {
	m.t.Helper()
	out, err := exec.CommandContext(m.t.Context(), "curl", "-sS", "--fail-with-body", "-X", "POST", "-H", "Content-Type: application/json",
		"-d", `{"name": "`+name+`"}`, "http://"+m.shop+"/broker?topic=orders").CombinedOutput()
	if err != nil {
		m.t.Fatalf("%v: %s", err, out)
	}
}

func TestEventsOfMicroCrossTheMesh(t *testing.T) {
	agenttest.Program(t, "curl")
	m := newEventMesh(t)
	mail := m.listen(m.mail, "topic=orders&queue=letters")
	agenttest.Eventually(t, soon, func() error { // of mail there is the proxy alone
		list, err := asked("GET", m.shop+"/registry", "")
		if err == nil && (strings.Count(list, `"name":"mail"`) != 1 || strings.Count(list, `"name":"billing"`) != 1) {
			err = fmt.Errorf("the registry lists %s", list)
		}
		return err
	})

	// What curl has published, to a subscriber made with Go Micro and a websocket.
	m.publish("John")
	if got := m.billing.Event(); got != "orders John" {
		t.Errorf("billing got %q", got)
	}
	if got := m.heard(mail, soon); !strings.Contains(got, "John") {
		t.Errorf("mail got %q", got)
	}
	m.mailProxy.WaitOutput(soon, "/svc/shop") // who has brought it

	// What Go Micro's own publishers have published, by the agent's registry and by
	// one of their own.
	for release, p := range map[string]*gomicro.Peer{
		"v5": gomicro.Publisher(t, "v5", "orders", m.agent.HTTPAddr, ""),
		"v4": gomicro.Publisher(t, "v4", "orders", "", m.shop),
		"v2": gomicro.Publisher(t, "v2", "orders", "", m.shop),
	} {
		p.Publish(release)
		if got := m.billing.Event(); got != "orders "+release {
			t.Errorf("billing got %q of %s", got, release)
		}
		if got := m.heard(mail, soon); got != `{"name":"`+release+`","size":0,"sleep_ms":0,"messages":0,"journal":""}` {
			t.Errorf("mail got %q of %s", got, release)
		}
	}

	// Intentions hold for events, each for its own subscriber.
	m.agent.Intention("shop", "mail", "deny")
	denied := func() bool {
		m.publish("denied")
		m.billing.Event()
		return m.heard(m.listen(m.mail, "topic=orders&queue=letters"), time.Second) == ""
	}
	_ = mail.CloseNow()
	agenttest.Eventually(t, soon, func() error {
		if !denied() {
			return errors.New("an event came although it is denied")
		}
		return nil
	})
	m.agent.Intention("shop", "mail", "allow")
	agenttest.Eventually(t, soon, func() error {
		if denied() {
			return errors.New("no event came although it is allowed")
		}
		return nil
	})

	// The agent does not answer, and events go on.
	m.agent.Pause()
	m.publish("on")
	got := m.billing.Event()
	m.agent.Resume()
	if got != "orders on" {
		t.Errorf("without the agent: %q", got)
	}

	// Nothing but events comes in where there are websockets alone.
	r, err := http.Post("http://"+m.shop+"/rpc", "application/json", strings.NewReader(`{"service": "mail", "method": "Greeter.Hello"}`))
	if err != nil {
		t.Fatal(err)
	}
	text, _ := io.ReadAll(r.Body)
	_ = r.Body.Close()
	http.DefaultClient.CloseIdleConnections()
	if r.StatusCode != http.StatusBadRequest || !strings.Contains(string(text), "only events") {
		t.Errorf("a call to subscribers: %s %s", r.Status, text)
	}
}
