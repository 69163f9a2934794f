package connectproxy

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"connect-proxy/config"
	"connect-proxy/connectproxy/agenttest"
	"connect-proxy/connectproxy/agenttest/fakeagent"
	"connect-proxy/connectproxy/agenttest/traffic"
)

// microAt is a configuration of a service whose application is made with Micro.
func microAt(service string, port int, allow ...string) config.Config {
	return config.Config{Mode: config.Flags, Service: service, Micro: &config.Micro{Bind: tcp("127.0.0.1", port), Allow: allow}}
}

// request sends a request to a port and returns status and body of the answer.
func request(t *testing.T, method string, port int, path, body string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, fmt.Sprintf("http://127.0.0.1:%d%s", port, path), strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	tr := &http.Transport{DisableKeepAlives: true}
	answer, err := tr.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(b)
}

func TestTheRegistryShowsAServiceOfWhichOnlyTheProxyIsRegistered(t *testing.T) {
	t.Parallel()
	agent := fakeagent.New(t, fakeagent.Options{})
	port := agenttest.FreePorts(t, 1)
	agent.Instance("alone", 20001)
	agent.Register(&api.AgentServiceRegistration{ID: "both-1", Name: "both", Port: 9090})
	agent.Instance("both", 20002)
	startEngine(t, agent, microAt("shop", port, "*")).ready()
	for name, want := range map[string]string{"alone": `"port":20001`, "both": `"port":9090`} {
		if status, body := request(t, http.MethodGet, port, "/registry?service="+name, ""); status != 200 || !strings.Contains(body, want) || strings.Count(body, `"port"`) != 1 {
			t.Errorf("%s: %d %s", name, status, body)
		}
	}
	if status, body := request(t, http.MethodGet, port, "/registry?service=nobody", ""); status != 404 {
		t.Errorf("%d %s", status, body)
	}
	_, list := request(t, http.MethodGet, port, "/registry", "")
	for _, name := range []string{"alone", "both"} {
		if strings.Count(list, `"name":"`+name+`"`) != 1 {
			t.Errorf("the list has not %s once: %s", name, list)
		}
	}
}

// registers is a configuration of a service whose application registers services.
func registers(service string, port int, names ...string) config.Config {
	c := microAt(service, port, "*")
	c.Micro.Register = names
	return c
}

func TestApplicationsRegisterAndDeregisterServices(t *testing.T) {
	t.Parallel()
	agent := fakeagent.New(t, fakeagent.Options{})
	port := agenttest.FreePorts(t, 1)
	e := startEngine(t, agent, registers("shop", port, "shop")).ready()
	const node = `{"name": "shop", "version": "1", "nodes": [{"id": "shop-1", "address": "10.0.0.1", "port": 9091, "metadata": {"team": "a"}}]}`
	if status, body := request(t, http.MethodPost, port, "/registry?ttl=30s", node); status != 200 || body != "" {
		t.Fatalf("%d %s", status, body)
	}
	s := agent.Service("shop-1")
	if s == nil || s.Service != "shop" || s.Address != "10.0.0.1" || s.Port != 9091 || agent.Check("registered-by-connect-proxy:shop-1") != api.HealthPassing {
		t.Fatalf("%+v, check %q", s, agent.Check("registered-by-connect-proxy:shop-1"))
	}
	_, body := request(t, http.MethodGet, port, "/registry?service=shop", "")
	if !strings.Contains(body, `"version":"1"`) || !strings.Contains(body, `"metadata":{"team":"a"}`) {
		t.Errorf("the registry shows %s", body)
	}
	// Once more, as applications do at intervals, also to an agent that has
	// forgotten: it is not registered anew where it is known.
	if status, _ := request(t, http.MethodPost, port, "/registry?ttl=30s", node); status != 200 || agent.Requests(traffic.Register) != 1 {
		t.Errorf("%d, %d registrations", status, agent.Requests(traffic.Register))
	}
	agent.Forget()
	if status, _ := request(t, http.MethodPost, port, "/registry?ttl=30s", node); status != 200 || agent.Service("shop-1") == nil {
		t.Errorf("%d, registered %+v", status, agent.Service("shop-1"))
	}
	for range 2 { // what is not there any more is no error
		if status, body := request(t, http.MethodDelete, port, "/registry", node); status != 200 || agent.Service("shop-1") != nil {
			t.Errorf("%d %s", status, body)
		}
	}
	if status, body := request(t, http.MethodPost, port, "/registry", node); status != 200 {
		t.Fatalf("%d %s", status, body)
	}
	e.stop()
	if err := e.wait(); err != nil {
		t.Fatal(err)
	}
	if s := agent.Service("shop-1"); s != nil {
		t.Errorf("the proxy has stopped, and left %+v", s)
	}
}

func TestNothingIsReplacedThatWasNotRegisteredByItsApplication(t *testing.T) {
	t.Parallel()
	agent := fakeagent.New(t, fakeagent.Options{})
	port := agenttest.FreePorts(t, 2)
	agent.Instance("shop", 20001)
	agent.Register(&api.AgentServiceRegistration{ID: "shop-1", Name: "shop", Port: 9090})
	agent.Register(&api.AgentServiceRegistration{ID: "Till-1", Name: "till", Port: 9092})
	startEngine(t, agent, registers("shop", port, "shop")).ready()
	startEngine(t, agent, registers("till", port+1, "shop")).ready()
	const mine = `{"name": "shop", "nodes": [{"id": "mine", "port": 9091}]}`
	if status, body := request(t, http.MethodPost, port+1, "/registry", mine); status != 200 {
		t.Fatalf("%d %s", status, body)
	}
	for _, id := range []string{"shop-1", "shop-sidecar-proxy", "mine"} {
		before := agent.Service(id)
		for _, method := range []string{http.MethodPost, http.MethodDelete} {
			status, body := request(t, method, port, "/registry", `{"name": "shop", "nodes": [{"id": "`+id+`", "port": 9099}]}`)
			if status != 403 || agent.Service(id) == nil || agent.Service(id).Port != before.Port {
				t.Errorf("%s %s: %d %s", method, id, status, body)
			}
		}
	}
	// The catalog would have these in the place of the others.
	for _, id := range []string{"SHOP-1", "shop-Sidecar-Proxy", "MINE", "till-1"} {
		status, body := request(t, http.MethodPost, port, "/registry", `{"name": "shop", "nodes": [{"id": "`+id+`", "port": 9099}]}`)
		if status != 403 || agent.Service(id) != nil {
			t.Errorf("%s: %d %s", id, status, body)
		}
	}
}

func TestTheCheckOfARegistrationTakesThePlaceOfNoOther(t *testing.T) {
	t.Parallel()
	agent := fakeagent.New(t, fakeagent.Options{})
	port := agenttest.FreePorts(t, 1)
	agent.Register(&api.AgentServiceRegistration{ID: "web", Name: "web", Port: 9090, Checks: api.AgentServiceChecks{
		{TTL: "1h", Status: api.HealthCritical}, {TTL: "1h", Status: api.HealthPassing},
	}})
	startEngine(t, agent, registers("shop", port, "shop")).ready()
	const node = `{"name": "shop", "nodes": [{"id": "web:1", "port": 9091}]}`
	for range 2 {
		if status, body := request(t, http.MethodPost, port, "/registry?ttl=1h", node); status != 200 {
			t.Fatalf("%d %s", status, body)
		}
	}
	if got := agent.Check("service:web:1"); got != api.HealthCritical {
		t.Errorf("the check of web is %q", got)
	}
	if status, _ := request(t, http.MethodDelete, port, "/registry", node); status != 200 || agent.Check("service:web:1") != api.HealthCritical {
		t.Errorf("%d, and the check of web is %q", status, agent.Check("service:web:1"))
	}
}

func TestAChangeOfTheServiceLeavesNoRegistrationBehind(t *testing.T) {
	t.Parallel()
	agent := fakeagent.New(t, fakeagent.Options{})
	port := agenttest.FreePorts(t, 1)
	e := startEngine(t, agent, registers("shop", port, "shop")).ready()
	const one, two = `{"name": "shop", "nodes": [{"id": "one", "port": 9091}]}`, `{"name": "shop", "nodes": [{"id": "two", "port": 9092}]}`
	for _, node := range []string{one, two} {
		if status, body := request(t, http.MethodPost, port, "/registry", node); status != 200 {
			t.Fatalf("%d %s", status, body)
		}
	}
	e.apply(registers("till", port, "shop"))
	if status, body := request(t, http.MethodDelete, port, "/registry", one); status != 200 || agent.Service("one") != nil {
		t.Errorf("%d %s", status, body)
	}
	e.stop()
	if err := e.wait(); err != nil {
		t.Fatal(err)
	}
	if s := agent.Service("two"); s != nil {
		t.Errorf("the proxy has stopped, and left %+v", s)
	}
}

// The agent forgets an instance a minute after its time to live, whatever that is;
// until then the proxy counts it, and deregisters it when it stops.
func TestAnInstanceThatIsLateIsKeptForAsLongAsTheAgentKeepsIt(t *testing.T) {
	t.Parallel()
	agent := fakeagent.New(t, fakeagent.Options{})
	port := agenttest.FreePorts(t, 1)
	e := startEngine(t, agent, registers("shop", port, "shop")).ready()
	for _, id := range []string{"late", "other"} {
		if status, body := request(t, http.MethodPost, port, "/registry?ttl=1h", `{"name": "shop", "nodes": [{"id": "`+id+`", "port": 9091}]}`); status != 200 {
			t.Fatalf("%d %s", status, body)
		}
		if err := e.registrations.begin(t.Context()); err != nil {
			t.Fatal(err)
		}
		if h, ok := e.registrations.held["late"]; ok {
			if got := e.registrations.registration(h.Registration).Check.DeregisterCriticalServiceAfter; got != "1m0s" {
				t.Errorf("the agent is to forget it after %s", got)
			}
			h.at = time.Now().Add(-h.TTL - 80*time.Second)
			e.registrations.held["late"] = h
		}
		e.registrations.end()
	}
	e.stop()
	if err := e.wait(); err != nil {
		t.Fatal(err)
	}
	if s := agent.Service("late"); s != nil {
		t.Errorf("the proxy has stopped, and left %+v", s)
	}
}

func TestTheNumberOfRegistrationsIsBounded(t *testing.T) {
	t.Parallel()
	agent := fakeagent.New(t, fakeagent.Options{})
	port := agenttest.FreePorts(t, 1)
	startEngine(t, agent, registers("shop", port, "shop")).ready()
	one := func(i int) (int, string) {
		return request(t, http.MethodPost, port, "/registry", fmt.Sprintf(`{"name": "shop", "nodes": [{"id": "n%d", "port": 1}]}`, i))
	}
	for i := range maxRegistered {
		if status, body := one(i); status != 200 {
			t.Fatalf("%d: %d %s", i, status, body)
		}
	}
	if status, body := one(maxRegistered); status != 500 || !strings.Contains(body, "the limit") {
		t.Errorf("one too many: %d %s", status, body)
	}
	if status, body := one(0); status != 200 {
		t.Errorf("one that is there: %d %s", status, body)
	}
	if status, body := request(t, http.MethodDelete, port, "/registry", `{"name": "shop", "nodes": [{"id": "n0"}]}`); status != 200 {
		t.Errorf("%d %s", status, body)
	}
	if status, body := one(maxRegistered); status != 200 {
		t.Errorf("in the place of another: %d %s", status, body)
	}
}

func TestAtASocketARequestMayBeUnderAnyName(t *testing.T) {
	t.Parallel()
	agent := fakeagent.New(t, fakeagent.Options{})
	c := microAt("shop", 0, "*")
	c.Micro.Bind = config.Address{Path: filepath.Join(t.TempDir(), "micro")}
	startEngine(t, agent, c).ready()
	tr := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", c.Micro.Bind.Path)
	}}
	answer, err := (&http.Client{Transport: tr}).Get("http://sidecar.example/registry")
	if err != nil {
		t.Fatal(err)
	}
	if _ = answer.Body.Close(); answer.StatusCode != http.StatusOK {
		t.Error(answer.Status)
	}
}

// The requests of docs/micro.md are run as they are printed there.
func TestRegistrationsAreMadeAsTheDocumentationSays(t *testing.T) {
	t.Parallel()
	agenttest.Program(t, "curl")
	page, err := os.ReadFile("../docs/micro.md")
	if err != nil {
		t.Fatal(err)
	}
	_, chapter, _ := strings.Cut(string(page), "\n## Registering at the registry\n")
	_, printed, _ := strings.Cut(chapter, "```sh\n")
	printed, _, _ = strings.Cut(printed, "```")
	register, deregister, found := strings.Cut(printed, "curl -X DELETE")
	if !found || strings.Count(register, "curl -X POST") != 1 {
		t.Fatalf("printed is %q", printed)
	}
	agent := fakeagent.New(t, fakeagent.Options{})
	port := agenttest.FreePorts(t, 1)
	startEngine(t, agent, registers("shop", port, "shop")).ready()
	run := func(command string) {
		t.Helper()
		command = strings.ReplaceAll(command, "127.0.0.1:8081", fmt.Sprintf("127.0.0.1:%d", port))
		if out, err := exec.CommandContext(t.Context(), "sh", "-c", command).Output(); err != nil || len(out) > 0 {
			t.Fatalf("%s: %v %s", command, err, out)
		}
	}
	run(register)
	if s := agent.Service("shop-1"); s == nil || s.Service != "shop" || s.Port != 9091 {
		t.Errorf("registered %+v", s)
	}
	run("curl -X DELETE" + deregister)
	if s := agent.Service("shop-1"); s != nil {
		t.Errorf("still registered %+v", s)
	}
}
