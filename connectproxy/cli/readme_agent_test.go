package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"connect-proxy/connectproxy/agenttest"
)

// The tests here run what README.md prints, as printed but for two things: the
// ports, of which each has a free one in its place, and the path of the binary.

// soon bounds what takes a check's interval (10 s) and a moment on a machine
// that does other things too.
const soon = 45 * time.Second

// anEnd bounds the end of a program, which comes before that of a drain (30 s).
const anEnd = 20 * time.Second

// elsewhere gives each port that README.md prints a free one.
type elsewhere map[string]string

func freePorts(t *testing.T) elsewhere {
	t.Helper()
	e := elsewhere{}
	first := agenttest.FreePorts(t, 4)
	for i, printed := range []string{"8080", "8081", "8443", "9191"} {
		e[printed] = fmt.Sprint(first + i)
	}
	return e
}

func (e elsewhere) in(text string) string {
	return regexp.MustCompile(`\b(?:8080|8081|8443|9191)\b`).ReplaceAllStringFunc(text, func(p string) string { return e[p] })
}

// hcl is a printed block with the ports of e.
func hcl(t *testing.T, name string, e elsewhere) string {
	t.Helper()
	for _, b := range printed(t, name) {
		if strings.HasPrefix(b.name, "hcl ") {
			return e.in(b.text)
		}
	}
	t.Fatalf("README.md has no HCL named %q", name)
	return ""
}

// self is the test binary, which is the program where asProgram is set.
func self(t *testing.T) string {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// launch runs the program beside an agent.
func launch(t *testing.T, a *agenttest.Agent, dir, token string, args ...string) *agenttest.Process {
	t.Helper()
	return agenttest.StartProcess(t, agenttest.ProcessOptions{
		Path: self(t),
		Args: args,
		Env:  []string{asProgram + "=1", "CONSUL_HTTP_ADDR=" + a.HTTPAddr, "CONSUL_HTTP_TOKEN=" + token},
		Dir:  dir,
	})
}

// launchPrinted runs the commands that README.md prints under a name.
func launchPrinted(t *testing.T, a *agenttest.Agent, dir, name string, e elsewhere) {
	t.Helper()
	for _, args := range commands(t, name) {
		for i := range args {
			args[i] = e.in(args[i])
		}
		launch(t, a, dir, a.Token, args...)
	}
}

// serveAPI is the application behind api.
func serveAPI(t *testing.T, e elsewhere) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:"+e["8081"])
	if err != nil {
		t.Fatal(err)
	}
	server := &httptest.Server{Listener: ln, Config: &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello from api") }),
	}}
	server.Start()
	t.Cleanup(server.Close)
}

// reachesAPI waits until web reaches api through its proxy's port.
func reachesAPI(t *testing.T, e elsewhere) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: soon}
	agenttest.Eventually(t, soon, func() error {
		body, err := body(t.Context(), client, "http://127.0.0.1:"+e["9191"])
		if err == nil && body != "hello from api" {
			err = errors.New(body)
		}
		return err
	})
}

func body(ctx context.Context, client *http.Client, url string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return string(text), err
}

func TestTheManagedMeshOfTheReadmeRunsAsPrinted(t *testing.T) {
	agenttest.SkipShort(t)
	t.Parallel()
	e := freePorts(t)
	serveAPI(t, e)
	text := strings.ReplaceAll(hcl(t, "managed", e), "/usr/local/bin/connect-proxy", self(t))
	agenttest.Managed(t, agenttest.Options{HCL: []string{text}, Env: []string{asProgram + "=1"}})
	reachesAPI(t, e)
}

func TestTheRegisteredMeshOfTheReadmeRunsAsPrinted(t *testing.T) {
	agenttest.SkipShort(t)
	t.Parallel()
	e := freePorts(t)
	serveAPI(t, e)
	a := agenttest.Modern(t, agenttest.Options{HCL: []string{hcl(t, "registered", e)}})
	launchPrinted(t, a, "", "registered", e)
	reachesAPI(t, e)
}

func TestTheProxySpeltOutInTheReadmeRunsAsPrinted(t *testing.T) {
	agenttest.SkipShort(t)
	t.Parallel()
	e := freePorts(t)
	serveAPI(t, e)
	a := agenttest.Modern(t, agenttest.Options{HCL: []string{hcl(t, "kind", e)}})
	launch(t, a, "", "", "-proxy-id", "api-proxy")
	launch(t, a, "", "", "-service", "web", "-upstream", "api:"+e["9191"])
	reachesAPI(t, e)
}

func TestTheFilesOfTheReadmeRunAsPrinted(t *testing.T) {
	agenttest.SkipShort(t)
	t.Parallel()
	e := freePorts(t)
	serveAPI(t, e)
	files := configFiles(t)
	for name, text := range files {
		files[name] = e.in(text)
	}
	a := agenttest.Modern(t, agenttest.Options{})
	launchPrinted(t, a, writeFiles(t, files), "file", e)
	reachesAPI(t, e)
}

func TestTheFlagsOfTheReadmeRunAsPrinted(t *testing.T) {
	agenttest.SkipShort(t)
	t.Parallel()
	e := freePorts(t)
	serveAPI(t, e)
	launchPrinted(t, agenttest.Modern(t, agenttest.Options{}), "", "flags", e)
	reachesAPI(t, e)
}

func TestThePolicyOfTheReadmeSufficesAsPrinted(t *testing.T) {
	agenttest.SkipShort(t)
	t.Parallel()
	e := freePorts(t)
	serveAPI(t, e)
	a := agenttest.Modern(t, agenttest.Options{ACL: true})
	upstream := api.Upstream{DestinationName: "api", LocalBindPort: number(t, e["9191"])}
	a.Register(&api.AgentServiceRegistration{Name: "api", Port: number(t, e["8081"]), Connect: sidecar()})
	a.Register(&api.AgentServiceRegistration{Name: "web", Port: number(t, e["8080"]), Connect: sidecar(upstream)})
	a.Intention("web", "api", "allow")
	launch(t, a, "", a.Token, "-sidecar-for", "api")
	web := launch(t, a, "", a.PutToken(hcl(t, "policy", e)), "-proxy-id", "web-sidecar-proxy")
	reachesAPI(t, e)
	if refused := web.Output.Matching("code: 403", "Permission denied"); len(refused) > 0 {
		t.Errorf("something was refused: %q", refused)
	}
}

func sidecar(upstreams ...api.Upstream) *api.AgentServiceConnect {
	return &api.AgentServiceConnect{SidecarService: &api.AgentServiceRegistration{
		Proxy: &api.AgentServiceConnectProxyConfig{Upstreams: upstreams},
	}}
}

func number(t *testing.T, text string) int {
	t.Helper()
	var n int
	if _, err := fmt.Sscan(text, &n); err != nil {
		t.Fatal(err)
	}
	return n
}
