package connectproxy

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"connect-proxy/config"
	"connect-proxy/connectproxy/agenttest"
	"connect-proxy/connectproxy/agenttest/fakeagent"
	"connect-proxy/connectproxy/agenttest/traffic"
	"connect-proxy/connectproxy/dynamic"
	"connect-proxy/listener"
	"connect-proxy/listener/listenertest"
)

// byNameAt is a configuration of a service whose applications name where they go.
func byNameAt(service string, port int, allow ...string) config.Config {
	return config.Config{Mode: config.Flags, Service: service, ByName: &config.ByName{Bind: tcp("127.0.0.1", port), Allow: allow}}
}

// serveName serves an application that answers with its service's name.
func serveName(t *testing.T, agent *fakeagent.Agent, service string, port int) {
	t.Helper()
	startEngine(t, agent, serving(service, port, namedApp(t, service).Addr())).ready()
	agent.Instance(service, port)
}

// connectThrough asks a proxy for a service by CONNECT, and returns the status.
func connectThrough(t *testing.T, port int, name string) (*talker, int) {
	t.Helper()
	c := dial(t, port)
	_ = c.SetDeadline(time.Now().Add(soon))
	_, _ = fmt.Fprintf(c, "CONNECT %s:1 HTTP/1.1\r\nHost: %s\r\n\r\n", name, name)
	r, err := http.ReadResponse(c.r, &http.Request{Method: http.MethodConnect})
	if err != nil {
		t.Fatal(err)
	}
	return c, r.StatusCode
}

// openThrough is connectThrough for a service that there is, until it is connected:
// an agent that has much else to do may be too late with its first answer.
func openThrough(t *testing.T, port int, name string) (open *talker) {
	t.Helper()
	agenttest.Eventually(t, soon, func() error {
		c, status := connectThrough(t, port, name)
		if open = c; status != http.StatusOK {
			return fmt.Errorf("%s: %d", name, status)
		}
		return nil
	})
	return open
}

func TestAnApplicationReachesAnyServiceByNameThroughOnePort(t *testing.T) {
	t.Parallel()
	agent := fakeagent.New(t, fakeagent.Options{})
	port := agenttest.FreePorts(t, 3)
	serveName(t, agent, "db", port)
	serveName(t, agent, "mail", port+1)
	e := startEngine(t, agent, byNameAt("web", port+2, "db", "mail")).ready()
	for _, name := range []string{"db", "mail", "db.service.consul", "db.service.dc1.consul"} {
		c := openThrough(t, port+2, name)
		if got, want := c.ask("hello"), strings.Split(name, ".")[0]; got != want {
			t.Errorf("%s leads to %s", name, got)
		}
		_ = c.Close()
	}
	if _, status := connectThrough(t, port+2, "secret"); status != 403 {
		t.Errorf("what is not allowed: %d", status)
	}
	if _, status := connectThrough(t, port+2, "mail@dc2"); status != 403 {
		t.Errorf("another datacenter: %d", status)
	}
	if want := fmt.Sprintf("by_name=127.0.0.1:%d", port+2); !strings.Contains(e.log.String(), want) {
		t.Errorf("the log does not say where applications connect: %s", want)
	}
	s := e.Status()
	if len(s.Dynamic) != 2 || s.Dynamic[0].Name != "db" || len(s.Dynamic[0].Instances) != 1 {
		t.Errorf("%+v", s.Dynamic)
	}
	listeners := adminSource{e.Proxy}.Proxy().Listeners
	if len(listeners) != 1 || listeners[0].Name != "by_name" || listeners[0].To != "what its clients name" {
		t.Errorf("shown are not the listeners that applications connect to, and no other: %+v", listeners)
	}
	shown := adminSource{e.Proxy}.Upstreams()
	if len(shown) != 2 || shown[0].Destination != "db" || shown[0].Address != "by name" {
		t.Errorf("%+v", shown)
	}
}

func TestAConnectionByNameGoesOnToAnotherInstanceWhereOneRefuses(t *testing.T) {
	t.Parallel()
	agent := fakeagent.New(t, fakeagent.Options{})
	port := agenttest.FreePorts(t, 3)
	serveName(t, agent, "db", port)
	e := startEngine(t, agent, byNameAt("web", port+2, "db")).ready()
	first := openThrough(t, port+2, "db")
	agent.Register(&api.AgentServiceRegistration{
		Kind: api.ServiceKindConnectProxy, ID: "db-left", Name: "db-sidecar-proxy", Address: "127.0.0.1", Port: port + 1,
		Proxy: &api.AgentServiceConnectProxyConfig{DestinationServiceName: "db"},
	})
	listenertest.Eventually(t, "both are known", func() bool { return len(e.Status().Dynamic[0].Instances) == 2 })
	// It has fewer connections than the other, and so is tried first.
	second, status := connectThrough(t, port+2, "db")
	if status != http.StatusOK || second.ask("hello") != "db" || first.ask("hello") != "db" {
		t.Errorf("%d", status)
	}
	if !strings.Contains(e.log.String(), "instance set aside: upstream=db instance=node-1/db-left") {
		t.Error("the instance that refuses was not tried")
	}
}

func TestANameThatNobodyHasIsRefusedSoonAndIsNoLabelOfMetrics(t *testing.T) {
	t.Parallel()
	agent := fakeagent.New(t, fakeagent.Options{})
	port := agenttest.FreePort(t)
	e := startEngine(t, agent, byNameAt("web", port, "*")).ready()
	began := time.Now()
	for i := range 20 {
		if _, status := connectThrough(t, port, fmt.Sprint("nobody", i)); status != 503 {
			t.Errorf("%d", status)
		}
	}
	if took := time.Since(began); took > 20*2*time.Second {
		t.Errorf("20 names took %s", took)
	}
	if s := e.Status().Dynamic; len(s) != 0 {
		t.Errorf("%+v", s)
	}
	w := httptest.NewRecorder()
	e.metrics.Handler(nil).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if text := w.Body.String(); strings.Contains(text, "nobody") || !strings.Contains(text, `reason="no_endpoints"`) {
		t.Errorf("metrics name what nobody has, or do not count it")
	}
}

func TestWhatIsInUseByNameGoesOnWithoutTheAgent(t *testing.T) {
	t.Parallel()
	agent := fakeagent.New(t, fakeagent.Options{})
	port := agenttest.FreePorts(t, 2)
	serveName(t, agent, "db", port)
	startEngine(t, agent, byNameAt("web", port+1, "*")).ready()
	open := openThrough(t, port+1, "db")
	if got := open.ask("hello"); got != "db" {
		t.Errorf("the connection leads to %s", got)
	}
	agent.Fail(traffic.All, traffic.Fault{Cut: true})
	if got := open.ask("hello"); got != "db" {
		t.Errorf("the open connection leads to %s", got)
	}
	if c, status := connectThrough(t, port+1, "db"); status != 200 || c.ask("hello") != "db" {
		t.Errorf("a new one: %d", status)
	}
	began := time.Now()
	if _, status := connectThrough(t, port+1, "mail"); status != 503 || time.Since(began) > 5*time.Second {
		t.Errorf("a new name: %d after %s", status, time.Since(began))
	}
}

func TestPlainHTTPGoesByNameAndHearsOfADenial(t *testing.T) {
	t.Parallel()
	agent := fakeagent.New(t, fakeagent.Options{})
	port := agenttest.FreePorts(t, 2)
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.Host+r.URL.Path)
	}))
	t.Cleanup(app.Close)
	startEngine(t, agent, serving("api", port, app.Listener.Addr().String())).ready()
	agent.Instance("api", port)
	e := startEngine(t, agent, byNameAt("web", port+1, "api")).ready()
	transport := &http.Transport{Proxy: http.ProxyURL(&url.URL{Scheme: "http", Host: at(port + 1)})}
	t.Cleanup(transport.CloseIdleConnections)
	get := func() (int, string) {
		r, err := (&http.Client{Transport: transport, Timeout: soon}).Get("http://api/path")
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Fatal(err)
		}
		return r.StatusCode, string(body)
	}
	openThrough(t, port+1, "api").Close()
	if status, body := get(); status != 200 || body != "api/path" {
		t.Errorf("%d, %q", status, body)
	}
	agenttest.Eventually(t, soon, func() error { // that of before ends
		own := 0
		for _, c := range (adminSource{e.Proxy}).Connections() {
			if c.Destination == "api" && c.Phase == "relay" {
				own++
			}
		}
		if own != 1 {
			return fmt.Errorf("%d connections to the service are shown", own)
		}
		return nil
	})
	agent.Intention("web", "api", "deny")
	agenttest.Eventually(t, soon, func() error {
		if status, body := get(); status != 403 || !strings.Contains(body, "upstream_denied") {
			return fmt.Errorf("denied: %d, %q", status, body)
		}
		return nil
	})
}

func TestAFrontEndOfTheEnginesOwnHasTheSameConnections(t *testing.T) {
	t.Parallel()
	agent := fakeagent.New(t, fakeagent.Options{})
	port := agenttest.FreePorts(t, 2)
	serveName(t, agent, "db", port)
	e := startEngine(t, agent, byNameAt("web", port+1, "db")).ready()
	db, err := e.dynamic.destination("db.service.consul", "")
	if err != nil {
		t.Fatal(err)
	}
	var c net.Conn
	agenttest.Eventually(t, soon, func() (err error) {
		c, err = e.dynamic.dial(t.Context(), dynamic.Call{To: db, User: "shop"})
		return err
	})
	_, _ = io.WriteString(c, "hello\n")
	if line, err := bufio.NewReader(c).ReadString('\n'); line != "db hello\n" || err != nil {
		t.Errorf("%q, %v", line, err)
	}
	if i := c.(*dynamic.Conn).Instance(); i.Session.Peer != agent.URI("db") {
		t.Errorf("%+v", i)
	}
	_ = c.Close()
	agenttest.Eventually(t, soon, func() error {
		if n := e.count(listener.ReasonClosed); n != 1 {
			return fmt.Errorf("%d connections in the log", n)
		}
		return nil
	})
	// Without a front end there are no dynamic upstreams.
	e.apply(calling("web", to("db", port+1)))
	if _, err := e.dynamic.dial(t.Context(), dynamic.Call{To: db}); err == nil {
		t.Error("connected by what is no longer configured")
	}
	if s := e.Status().Dynamic; len(s) != 0 {
		t.Errorf("%+v", s)
	}
}

func TestAnotherListOfNamesLeavesOpenConnectionsAlone(t *testing.T) {
	t.Parallel()
	agent := fakeagent.New(t, fakeagent.Options{})
	port := agenttest.FreePorts(t, 2)
	serveName(t, agent, "db", port)
	e := startEngine(t, agent, byNameAt("web", port+1, "db")).ready()
	open := openThrough(t, port+1, "db")
	e.apply(byNameAt("web", port+1, "mail"))
	if _, status := connectThrough(t, port+1, "db"); status != 403 {
		t.Errorf("a new connection: %d", status)
	}
	if got := open.ask("hello"); got != "db" {
		t.Errorf("the open one leads to %s", got)
	}
	settings := byNameAt("web", port+1, "db")
	settings.DynamicUpstreams = &config.Upstream{MaxConnections: 1}
	e.apply(settings)
	if _, status := connectThrough(t, port+1, "db"); status != 503 {
		t.Errorf("over the limit of dynamic_upstreams: %d", status)
	}
}

func TestConnectionsByNameAreResetWhereTheirInstanceIsGoneIfThatIsWanted(t *testing.T) {
	t.Parallel()
	agent := fakeagent.New(t, fakeagent.Options{})
	port := agenttest.FreePorts(t, 3)
	serveName(t, agent, "db", port)
	serveName(t, agent, "mail", port+2)
	settings := byNameAt("web", port+1, "*")
	settings.DynamicUpstreams = &config.Upstream{ResetOnChange: config.ResetGone}
	e := startEngine(t, agent, settings).ready()
	gone, stays := openThrough(t, port+1, "db"), openThrough(t, port+1, "mail")
	if to, other := gone.ask("hello"), stays.ask("hello"); to != "db" || other != "mail" {
		t.Fatalf("they lead to %s and %s", to, other)
	}
	agent.Instance("db", port+20) // at another address from now on
	gone.ends()
	agenttest.Eventually(t, soon, func() error {
		if n := e.count(listener.ReasonDestinationChanged); n != 1 {
			return fmt.Errorf("%d connections in the log", n)
		}
		return nil
	})
	if got := stays.ask("hello"); got != "mail" {
		t.Errorf("the other leads to %s", got)
	}
}

func TestARequestThatIsRefusedHasOneLineInTheLog(t *testing.T) {
	t.Parallel()
	agent := fakeagent.New(t, fakeagent.Options{})
	port := agenttest.FreePorts(t, 1)
	e := startEngine(t, agent, byNameAt("web", port, "db")).ready()
	for name, line := range map[string]string{"secret": "request refused: ", "db": "connection refused: "} {
		c := dial(t, port)
		if _, err := io.WriteString(c, "GET http://"+name+"/ HTTP/1.1\r\nHost: "+name+"\r\nConnection: close\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		if answer, err := io.ReadAll(c); err != nil || !strings.Contains(string(answer), " "+name+": ") {
			t.Fatalf("%q, %v", answer, err)
		}
		var warnings []string
		agenttest.Eventually(t, soon, func() error { // what the client is told may come first
			warnings = nil
			for line := range strings.Lines(e.log.String()) {
				if strings.Contains(line, "[WARN]") && strings.Contains(line, "client="+c.LocalAddr().String()) {
					warnings = append(warnings, line)
				}
			}
			if !strings.Contains(e.log.String(), "reason=closed client="+c.LocalAddr().String()) || !strings.Contains(strings.Join(warnings, ""), line) {
				return errors.New("the client's connection has not ended, or the log does not say why")
			}
			return nil
		})
		if len(warnings) != 1 {
			t.Errorf("%s: %q", name, warnings)
		}
	}
}

func TestAClientThatNamesItsDestinationAfterAChangeIsNotResetForIt(t *testing.T) {
	t.Parallel()
	agent := fakeagent.New(t, fakeagent.Options{})
	port := agenttest.FreePorts(t, 4)
	serveName(t, agent, "db", port)
	startEngine(t, agent, serving("db", port+3, namedApp(t, "db").Addr())).ready()
	settings := byNameAt("web", port+1, "*")
	settings.DynamicUpstreams = &config.Upstream{ResetOnChange: config.ResetAll}
	e := startEngine(t, agent, settings).ready()
	old := openThrough(t, port+1, "db")
	if to := old.ask("hello"); to != "db" {
		t.Fatal(to)
	}
	early := dial(t, port+1)
	_ = early.SetDeadline(time.Now().Add(soon))
	_, _ = io.WriteString(early, "CONNECT db:1 HT")
	listenertest.Eventually(t, "both are there", func() bool { return e.Status().Listeners[0].Live == 2 })
	agent.Instance("db", port+3) // at another address from now on
	old.ends()
	_, _ = io.WriteString(early, "TP/1.1\r\nHost: db\r\n\r\n")
	if r, err := http.ReadResponse(early.r, &http.Request{Method: http.MethodConnect}); err != nil || r.StatusCode != http.StatusOK {
		t.Fatal(r, err)
	}
	e.apply(settings) // so that the engine has looked
	e.apply(settings)
	if n := e.count(listener.ReasonDestinationChanged); n != 1 {
		t.Errorf("%d connections were reset", n)
	}
	if to := early.ask("hello"); to != "db" {
		t.Error(to)
	}
}
