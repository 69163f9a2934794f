package systemtest_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"connect-proxy/connectproxy/agenttest"
)

// application is a real server and a client of it, from the distribution.
type application struct {
	name string
	// start runs the server on a port until the test ends, and skips the test where
	// a program is missing, be it a client.
	start func(t *testing.T, port int)
	// traffic runs through the mesh and must not fail.
	traffic func(t *testing.T, port int)
}

var applications = []application{
	{"redis", startRedis, redisTraffic},
	{"postgresql", startPostgres, postgresTraffic},
	{"nginx", startNginx, nginxTraffic},
}

// launchedMesh and registeredMesh are the two ways into the mesh: the application's
// service and web, a service with nothing but upstreams.
func launchedMesh(t *testing.T, app application, port, upstream int) {
	a := agenttest.Managed(t, agenttest.Options{HCL: []string{
		agenttest.ProxyDefaults(command(t), nil),
		agenttest.ManagedService{Name: app.name, Port: port}.Text(),
		agenttest.ManagedService{Name: "web", Port: 1, Upstreams: []agenttest.ManagedUpstream{{Name: app.name, BindPort: upstream}}}.Text(),
	}})
	passes(t, a, app.name+"-proxy")
	passes(t, a, "web-proxy")
	a.WaitConnect(app.name, 1)
}

func registeredMesh(t *testing.T, app application, port, upstream int) {
	a := agenttest.Modern(t, agenttest.Options{})
	ports := agenttest.FreePorts(t, 2)
	sidecar{name: app.name, app: port, port: ports}.start(t, a)
	sidecar{name: "web", app: 1, port: ports + 1, upstreams: []api.Upstream{up(app.name, upstream)}}.start(t, a)
	a.WaitConnect(app.name, 1)
}

func TestRealApplicationsWorkThroughTheMesh(t *testing.T) {
	agenttest.SkipShort(t)
	for _, mesh := range []struct {
		name string
		join func(t *testing.T, app application, port, upstream int)
	}{
		{"launched by 1.5.3", launchedMesh},
		{"registered with 1.15.4", registeredMesh},
	} {
		for _, app := range applications {
			t.Run(app.name+" "+mesh.name, func(t *testing.T) {
				parallel(t)
				ports := agenttest.FreePorts(t, 2)
				app.start(t, ports)
				mesh.join(t, app, ports, ports+1)
				app.traffic(t, ports+1)
			})
		}
	}
}

// tool runs a client to its end and returns what it says on standard output.
func tool(t *testing.T, stdin io.Reader, path string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s %q: %v\n%s%s", path, args, err, out.String(), errs.String())
	}
	return out.String()
}

// noise is data that does not compress and has no pattern to hide behind.
func noise(t *testing.T, size int) []byte {
	t.Helper()
	b := make([]byte, size)
	if _, err := rand.Read(b); err != nil {
		t.Fatal(err)
	}
	return b
}

func startRedis(t *testing.T, port int) {
	agenttest.Program(t, "redis-cli")
	agenttest.Program(t, "redis-benchmark")
	agenttest.StartProcess(t, agenttest.ProcessOptions{
		Path: agenttest.Program(t, "redis-server"), Dir: t.TempDir(),
		Args: []string{"--port", fmt.Sprint(port), "--bind", "127.0.0.1", "--save", "", "--daemonize", "no"},
	}).WaitOutput(soon, "Ready to accept connections")
}

func redisTraffic(t *testing.T, port int) {
	p, client := fmt.Sprint(port), agenttest.Program(t, "redis-cli")
	agenttest.Eventually(t, soon, func() error {
		out, err := exec.Command(client, "-p", p, "ping").CombinedOutput()
		if err == nil && strings.TrimSpace(string(out)) != "PONG" {
			err = errors.New(string(out))
		}
		return err
	})
	// One value far beyond any buffer, there and back.
	value := fmt.Sprintf("%x", noise(t, 3<<20))
	tool(t, strings.NewReader(value), client, "-p", p, "-x", "set", "value")
	if got := tool(t, nil, client, "-p", p, "get", "value"); strings.TrimSpace(got) != value {
		t.Errorf("%d bytes came back for %d", len(got), len(value))
	}
	// Many clients, each with many requests under way.
	out := tool(t, nil, agenttest.Program(t, "redis-benchmark"), "-p", p, "-n", "20000", "-c", "20", "-P", "32", "-d", "257", "-t", "set,get,lrange_100", "-q")
	if n := strings.Count(out, "requests per second"); n < 3 {
		t.Errorf("the benchmark says %q", out)
	}
}

func startNginx(t *testing.T, port int) {
	dir := t.TempDir()
	user := ""
	if os.Geteuid() == 0 {
		user = "user root;"
	}
	config := fmt.Sprintf(`%s daemon off; pid %[2]s/pid; error_log stderr;
events {}
http {
  access_log off;
  client_max_body_size 64m;
  client_body_temp_path %[2]s/body; proxy_temp_path %[2]s/proxy; fastcgi_temp_path %[2]s/fastcgi;
  uwsgi_temp_path %[2]s/uwsgi; scgi_temp_path %[2]s/scgi;
  server {
    listen 127.0.0.1:%[3]d;
    root %[2]s/files;
    location /close { keepalive_timeout 0; alias %[2]s/files; }
  }
}
`, user, dir, port)
	if err := os.Mkdir(filepath.Join(dir, "files"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{
		"nginx.conf": []byte(config), "files/large": bytes.Repeat(noise(t, 1<<20), 24), "files/small": []byte("small"),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	agenttest.StartProcess(t, agenttest.ProcessOptions{
		Path: agenttest.Program(t, "nginx"), Args: []string{"-p", dir, "-c", filepath.Join(dir, "nginx.conf"), "-e", "stderr"},
	})
	agenttest.Eventually(t, soon, func() error {
		_, err := page(port, "small")
		return err
	})
}

func nginxTraffic(t *testing.T, port int) {
	agenttest.Eventually(t, soon, func() error {
		_, err := page(port, "small")
		return err
	})
	large, err := page(port, "large")
	if err != nil || len(large) != 24<<20 || !bytes.Equal(large[:1<<20], large[23<<20:]) {
		t.Errorf("%d bytes of the large page: %v", len(large), err)
	}
	for range 50 {
		// The server ends these by closing.
		if small, err := page(port, "close/small"); err != nil || string(small) != "small" {
			t.Fatalf("the small page is %q: %v", small, err)
		}
	}
}

func page(port int, name string) ([]byte, error) {
	c := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: soon}
	resp, err := c.Get("http://" + at(port) + "/" + name)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = errors.New(resp.Status)
	}
	return body, err
}

func startPostgres(t *testing.T, port int) {
	agenttest.Program(t, "psql")
	create, serve, setpriv := agenttest.Program(t, "initdb"), agenttest.Program(t, "postgres"), ""
	if os.Geteuid() == 0 {
		setpriv = agenttest.Program(t, "setpriv")
	}
	dir, err := os.MkdirTemp("", "connect-proxy-pg-") //nolint:usetesting // the parents of t.TempDir may be closed to others
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	other := asOther(t, setpriv, dir)
	data := filepath.Join(dir, "data")
	initdb := slices.Concat(other, []string{create, "-D", data, "-U", "app", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C"})
	tool(t, nil, initdb[0], initdb[1:]...)
	server := slices.Concat(other, []string{serve, "-D", data, "-h", "127.0.0.1", "-p", fmt.Sprint(port), "-k", dir, "-F"})
	agenttest.StartProcess(t, agenttest.ProcessOptions{Path: server[0], Args: server[1:], Dir: dir}).
		WaitOutput(soon, "ready to accept connections")
}

func postgresTraffic(t *testing.T, port int) {
	client := agenttest.Program(t, "psql")
	sql := func(stdin io.Reader, statement string) string {
		t.Helper()
		return tool(t, stdin, client, "-h", "127.0.0.1", "-p", fmt.Sprint(port), "-U", "app", "-d", "postgres",
			"-v", "ON_ERROR_STOP=1", "-X", "-q", "-A", "-t", "-c", statement)
	}
	agenttest.Eventually(t, soon, func() error {
		return exec.Command(client, "-h", "127.0.0.1", "-p", fmt.Sprint(port), "-U", "app", "-d", "postgres", "-c", "select 1").Run()
	})
	var rows strings.Builder
	for i := range 60_000 {
		fmt.Fprintf(&rows, "%d\t%x\n", i, noise(t, 40))
	}
	sql(nil, "create table t (id int, value text)")
	sql(strings.NewReader(rows.String()), "copy t from stdin")
	if got := sql(nil, "copy (select * from t order by id) to stdout"); got != rows.String() {
		t.Errorf("%d bytes came back for %d", len(got), rows.Len())
	}
	if got := strings.TrimSpace(sql(nil, "select count(*) from t")); got != "60000" {
		t.Errorf("%s rows", got)
	}
}
