package systemtest_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"connect-proxy/connectproxy/agenttest"
)

// browser makes a client with connections of its own, which are gone at the end
// of the test.
func browser(t *testing.T) *http.Client {
	c := &http.Client{Transport: &http.Transport{MaxConnsPerHost: 1}, Timeout: exchange}
	t.Cleanup(c.CloseIdleConnections)
	return c
}

// everyBody posts bodies of many sizes, with and without keeping the connection
// alive, with their length said and not.
func everyBody(t *testing.T, m *fabric) {
	c := browser(t)
	for i, size := range []int{0, 1, 1000, 16 << 10, 100_000, 5 << 20} {
		for _, chunked := range []bool{false, true} {
			for _, last := range []bool{false, true} {
				var body bytes.Buffer
				sent, _ := pour(&body, int64(size))
				var from io.Reader = &body
				if chunked {
					from = struct{ io.Reader }{&body}
				}
				req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, fmt.Sprintf("http://%s/%d", m.address["stage"], i), from)
				if err != nil {
					t.Fatal(err)
				}
				req.Close = last
				want := fmt.Sprintf("POST /%d %d %s", i, size, sent.sum)
				if got, err := fetched(c, req); err != nil || got != want {
					t.Errorf("%d bytes, chunked %t, last %t: %q, want %q: %v", size, chunked, last, got, want, err)
				}
			}
		}
	}
}

func fetched(c *http.Client, req *http.Request) (string, error) {
	resp, err := c.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return string(text), err
}

// endedByClosing is a server of HTTP/1.0: nothing but the end of the connection
// ends its answer.
func endedByClosing(t *testing.T, m *fabric) {
	var sent hashed
	c, over := m.scene(t, func(app *net.TCPConn) error {
		req, err := http.ReadRequest(bufio.NewReader(app))
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(app, "HTTP/1.0 200 OK\r\nX-Path: %s\r\n\r\n", req.URL.Path); err != nil {
			return err
		}
		sent, err = pour(app, 3*mebi+request)
		return err
	})
	if _, err := io.WriteString(c, "GET /old HTTP/1.0\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	got, err := drink(resp.Body)
	if err != nil || resp.Header.Get("X-Path") != "/old" || resp.ContentLength != -1 {
		t.Errorf("%v, %v, %v", resp, resp.ContentLength, err)
	}
	ends(t, over, nil)
	same(t, "the answer", got, sent)
}

// webServer is an nginx; nil where it is not installed.
type webServer struct {
	port int
	big  hashed
}

const nginxConfig = `
daemon off;
%s
worker_processes 1;
pid %[2]s/pid;
error_log stderr warn;
events { worker_connections 256; }
http {
	access_log off;
	client_body_temp_path %[2]s/body;
	proxy_temp_path %[2]s/proxy;
	fastcgi_temp_path %[2]s/fastcgi;
	uwsgi_temp_path %[2]s/uwsgi;
	scgi_temp_path %[2]s/scgi;
	sendfile on;
	keepalive_requests 10000;
	server {
		listen 127.0.0.1:%[3]d;
		root %[2]s/www;
		add_header X-Connection $connection;
	}
}
`

func runNginx(t *testing.T) *webServer {
	path := agenttest.FindProgram("nginx")
	if path == "" {
		return nil
	}
	dir, user := t.TempDir(), ""
	if os.Geteuid() == 0 {
		user = "user root;" // who alone may enter the directory
	}
	s := &webServer{port: agenttest.FreePort(t)}
	www := filepath.Join(dir, "www")
	if err := os.Mkdir(www, 0o700); err != nil {
		t.Fatal(err)
	}
	file, err := os.Create(filepath.Join(www, "big"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if s.big, err = pour(file, 64<<20+request); err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(dir, "nginx.conf")
	for name, text := range map[string]string{
		config:                        fmt.Sprintf(nginxConfig, user, dir, s.port),
		filepath.Join(www, "small"):   "a small file\n",
		filepath.Join(www, "nothing"): "",
	} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p := agenttest.StartProcess(t, agenttest.ProcessOptions{Path: path, Args: []string{"-p", dir, "-e", "stderr", "-c", config}})
	listens(t, p, s.port)
	return s
}

// listens waits until an application that has been started is there.
func listens(t *testing.T, p *agenttest.Process, port int) {
	t.Helper()
	agenttest.Eventually(t, exchange, func() error {
		if !p.Running() {
			t.Fatalf("it has ended:\n%s", p.Output)
		}
		return open(port)
	})
}

func (s *webServer) app() *tenant {
	if s == nil {
		return nil
	}
	return &tenant{name: "nginx", port: s.port}
}

// keepsAlive makes many requests on one connection, and some that end theirs.
func (s *webServer) keepsAlive(t *testing.T, m *fabric) {
	if s == nil {
		t.Skip("nginx is not installed")
	}
	c := browser(t)
	connections := map[string]int{}
	for i := range 600 {
		name := []string{"small", "nothing", "none"}[i%3]
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+m.address["nginx"]+"/"+name, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Close = i%200 == 199
		resp, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		want := map[string]string{"small": "200 a small file\n", "nothing": "200 ", "none": "404 "}[name]
		if got := fmt.Sprint(resp.StatusCode, " ", string(text)); err != nil || !strings.HasPrefix(got, want) {
			t.Fatalf("%q, want %q: %v", got, want, err)
		}
		connections[resp.Header.Get("X-Connection")]++
	}
	delete(connections, "") // of 404
	if len(connections) != 3 {
		t.Errorf("the connections had these numbers of requests: %v", connections)
	}
}

func (s *webServer) bigFile(t *testing.T, m *fabric) {
	if s == nil {
		t.Skip("nginx is not installed")
	}
	c := browser(t)
	for range 2 {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+m.address["nginx"]+"/big", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		got, err := drink(resp.Body)
		resp.Body.Close()
		if err != nil {
			t.Error(err)
		}
		same(t, "the file", got, s.big)
	}
}
