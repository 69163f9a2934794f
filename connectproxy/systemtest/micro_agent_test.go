package systemtest_test

import (
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"connect-proxy/connectproxy/agenttest"
	"connect-proxy/connectproxy/agenttest/gomicro"
)

// microMesh are services made with Go Micro, each behind a proxy of its own, and
// the proxy of a service shop that its application calls them through.
type microMesh struct {
	t     *testing.T
	agent *agenttest.Agent
	peers map[string]*gomicro.Peer
	proxy map[string]*proxyProcess
	// address is shop's for applications of Micro.
	address string
}

func newMicroMesh(t *testing.T, services map[string]string) *microMesh {
	t.Helper()
	m := &microMesh{t: t, agent: agenttest.Modern(t, agenttest.Options{}), peers: map[string]*gomicro.Peer{}, proxy: map[string]*proxyProcess{}}
	port := agenttest.FreePorts(t, len(services)+2)
	for name, release := range services {
		m.peers[name] = gomicro.Serve(t, release, name)
		_, p, _ := net.SplitHostPort(m.peers[name].Address)
		app, _ := strconv.Atoi(p)
		m.proxy[name] = sidecar{name: name, app: app, port: port}.start(t, m.agent)
		port++
	}
	for name := range services {
		m.agent.WaitConnect(name, 1)
	}
	m.address = at(port + 1)
	m.proxy["shop"] = sidecar{name: "shop", app: 1, port: port, config: map[string]any{
		"micro": map[string]any{
			"bind_port": port + 1, "allow": []string{"greeter*", "go.micro.srv.*", "nobody"},
			"topics": []string{"orders"}, "register": []string{"shop"},
		},
	}}.start(t, m.agent)
	return m
}

// does has a client do something, and all of it must go well.
func (m *microMesh) does(c *gomicro.Peer, o gomicro.Order) {
	m.t.Helper()
	if got := c.Do(o); got.OK != max(o.Calls, 1) {
		m.t.Errorf("%+v: %+v", o, got)
	}
}

// docs/micro.md has what the whole of it gave.
var whole = flag.Bool("whole", false, "make 100,000 calls by Go Micro, and 10,000 to two services in turn")

func TestApplicationsMadeWithGoMicroCallEachOtherThroughTheMesh(t *testing.T) {
	m := newMicroMesh(t, map[string]string{
		"greeter": "v5", "greeter-old": "v2", "go.micro.srv.greeter": "v4", "greeter-grpc": gomicro.PlainGRPC,
	})
	c := gomicro.Client(t, "v5", m.address)
	once := 0

	// A reply; the caller is named where it arrives.
	first := gomicro.Client(t, "v5", m.address)
	m.does(first, gomicro.Order{Kind: "unary", Services: []string{"greeter"}})
	first.End()
	m.proxy["greeter"].WaitOutput(soon, "/svc/shop")

	// Several releases and codecs, to several services in turn, and streams.
	for release := range gomicro.Releases {
		peer := gomicro.Client(t, release, m.address)
		for _, kind := range []string{"unary", "proto", "server-stream", "client-stream"} {
			m.does(peer, gomicro.Order{
				Kind: kind, Services: []string{"greeter", "greeter-old", "go.micro.srv.greeter"}, Calls: 9,
				Request: gomicro.Request{Messages: 20},
			})
		}
	}
	m.does(c, gomicro.Order{Kind: "bidi", Services: []string{"greeter"}, Request: gomicro.Request{Messages: 1000}})
	many := gomicro.Order{Kind: "unary", Services: []string{"greeter", "go.micro.srv.greeter"}, Calls: 300}
	if *whole {
		all := gomicro.Order{Kind: "unary", Services: []string{"greeter"}, Calls: 100_000}
		got := c.Do(all)
		if t.Logf("%d calls: %+v", all.Calls, got); got.OK != all.Calls {
			t.Errorf("%+v", got)
		}
		many.Calls = 10_000
	}
	got := c.Do(many)
	if t.Logf("%d calls to two services in turn: %+v", many.Calls, got); got.OK != many.Calls {
		t.Errorf("%+v", got)
	}

	// Without a client of Micro.
	for path, body := range map[string]string{
		"/rpc":           `{"service": "greeter", "method": "Greeter.Hello", "request": {"name": "John"}}`,
		"/greeter/hello": `{"name": "John"}`,
	} {
		r, err := http.Post("http://"+m.address+path, "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if _ = r.Body.Close(); r.StatusCode != http.StatusOK {
			t.Errorf("%s: %s", path, r.Status)
		}
	}
	r, err := http.Get("http://" + m.address + "/registry?service=greeter")
	if err != nil {
		t.Fatal(err)
	}
	shown, _ := io.ReadAll(r.Body)
	_ = r.Body.Close()
	if _, port, _ := net.SplitHostPort(m.peers["greeter"].Address); !strings.Contains(string(shown), `"port":`+port) {
		t.Errorf("the registry shows %s", shown)
	}
	http.DefaultClient.CloseIdleConnections()

	t.Run("as documented with curl", m.documented)
	m.grpc()

	// Not there, not allowed.
	if got := c.Do(gomicro.Order{Kind: "unary", Services: []string{"nobody"}}); got.First.Code != 404 || got.First.ID != "connect-proxy" {
		t.Errorf("a service that nobody has: %+v", got)
	}
	if got := c.Do(gomicro.Order{Kind: "unary", Services: []string{"secret"}}); got.First.Code != 403 {
		t.Errorf("a service that may not be called: %+v", got)
	}

	// Out of time: at the client, and the call ends.
	slow := gomicro.Order{Kind: "unary", Services: []string{"greeter"}, TimeoutMS: 200, Retries: &once, Request: gomicro.Request{SleepMS: 12_000}}
	if got := c.Do(slow); got.First.Code != 408 || got.TookMS > 2500 {
		t.Errorf("out of time: %+v", got)
	}

	// Denied, and allowed again.
	m.agent.Intention("shop", "greeter", "deny")
	journal := filepath.Join(t.TempDir(), "journal")
	denied := gomicro.Order{Kind: "unary", Services: []string{"greeter"}, Request: gomicro.Request{Journal: journal}}
	refused := inRefusalCode(403, 502)
	agenttest.Eventually(t, soon, func() error { return m.answers(c, denied, refused) })
	calls, before := 1, len(lines(journal)) // that one was refused
	for ; calls < 6; calls++ {
		if got := c.Do(denied); got.First.Code != refused || len(lines(journal)) != before {
			t.Errorf("denied: %+v, and %d calls arrived", got, len(lines(journal))-before)
		}
	}
	least, attempts := calls, 0
	if resets() {
		least-- // the first may have found that its connection was cut
	}
	agenttest.Eventually(t, soon, func() error { // the last may not have been logged yet
		if attempts = m.refusals("greeter"); attempts < least {
			return fmt.Errorf("the proxy of the service has refused %d", attempts)
		}
		return nil
	})
	if attempts > calls {
		t.Errorf("%d calls that are denied come %d times to the proxy of their service", calls, attempts)
	}
	m.agent.Intention("shop", "greeter", "allow")
	agenttest.Eventually(t, soon, func() error { return m.answers(c, denied, 0) })

	// An instance that dies in the middle of a call: it is not repeated.
	done := make(chan gomicro.Outcome, 1)
	journal = filepath.Join(t.TempDir(), "journal")
	dying := gomicro.Client(t, "v2", m.address)
	go func() {
		done <- dying.Do(gomicro.Order{Kind: "unary", Services: []string{"greeter-old"}, Request: gomicro.Request{SleepMS: 60_000, Journal: journal}, TimeoutMS: 15_000})
	}()
	agenttest.Eventually(t, soon, func() error {
		if len(lines(journal)) == 0 {
			return os.ErrNotExist
		}
		return nil
	})
	m.peers["greeter-old"].Kill()
	if got := <-done; got.First.Code != 502 || len(lines(journal)) != 1 {
		t.Errorf("an instance that died: %+v, %d calls arrived", got, len(lines(journal)))
	}

	// The agent does not answer, and calls go on.
	m.agent.Pause()
	began := time.Now()
	m.does(c, gomicro.Order{Kind: "unary", Services: []string{"greeter"}, Calls: 100})
	m.agent.Resume()
	t.Logf("100 calls without the agent took %s", time.Since(began).Round(time.Millisecond))
}

// documented runs what docs/micro.md prints to be run with curl, as it stands there
// but for the port, and with a file of curl's own that makes an error of every status
// that is one.
func (m *microMesh) documented(t *testing.T) {
	agenttest.Program(t, "curl")
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "micro.md"))
	if err != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	if err := os.WriteFile(filepath.Join(home, ".curlrc"), []byte("fail\nsilent\nshow-error\nmax-time = 20\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var ran, calls int
	for _, b := range regexp.MustCompile("(?ms)^```sh\n(.*?)^```$").FindAllStringSubmatch(string(text), -1) {
		if !strings.Contains(b[1], "curl ") {
			continue
		}
		out, err := agenttest.RunProgram(t, []string{"CURL_HOME=" + home}, strings.ReplaceAll(b[1], "127.0.0.1:8081", m.address), "sh", "-e")
		if err != nil {
			t.Errorf("%v: %s\n%s", err, b[1], out)
		}
		ran += strings.Count(b[1], "curl ")
		calls += strings.Count(out, "John")
	}
	if ran < 5 || calls != 2 {
		t.Errorf("%d requests are documented, want 5 at least, and %d calls were answered, want 2", ran, calls)
	}
}

// grpc has clients of gRPC call a service by its path, also while that is denied to
// them.
func (m *microMesh) grpc() {
	m.t.Helper()
	c := gomicro.ClientGRPC(m.t, gomicro.PlainGRPC, m.address)
	for _, kind := range []string{"unary", "trailers", "bidi", "server-stream", "client-stream", "cancel"} {
		m.does(c, gomicro.Order{
			Kind: kind, Services: []string{"greeter-grpc"}, Calls: 5,
			Request: gomicro.Request{Messages: 100, Size: 10_000},
		})
	}
	call := gomicro.Order{Kind: "unary", Services: []string{"greeter-grpc"}}
	m.agent.Intention("shop", "greeter-grpc", "deny")
	agenttest.Eventually(m.t, soon, func() error { return m.answers(c, call, inRefusalCode(7, 14)) })
	m.proxy["greeter-grpc"].WaitOutput(soon, "/svc/shop") // the caller is named where it is denied
	m.agent.Intention("shop", "greeter-grpc", "allow")
	agenttest.Eventually(m.t, soon, func() error { return m.answers(c, call, 0) })
	for service, code := range map[string]int{"greeter-none": 14, "secret": 7} {
		call.Services = []string{service}
		if got := c.Do(call); got.First.Code != code {
			m.t.Errorf("%s: %+v, want code %d", service, got, code)
		}
	}
}

// inRefusalCode is the code that a refused caller gets: told, or of a reset.
func inRefusalCode(told, reset int) int {
	if resets() {
		return reset
	}
	return told
}

// answers is an error unless a call gives that code.
func (m *microMesh) answers(c *gomicro.Peer, o gomicro.Order, code int) error {
	if got := c.Do(o); got.First.Code != code {
		return &net.AddrError{Err: got.First.Detail, Addr: strconv.Itoa(got.First.Code)}
	}
	return nil
}

// refusals is how many connections the proxy of a service has refused by an intention.
func (m *microMesh) refusals(service string) int {
	return strings.Count(m.proxy[service].Output.String(), "connection refused: listener=public reason=denied ")
}

func lines(file string) []string {
	b, _ := os.ReadFile(file)
	return strings.Fields(string(b))
}
