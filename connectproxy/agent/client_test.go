package agent

import (
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"connect-proxy/connectproxy/agenttest"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/go-hclog"
)

// recorder is an agent that answers every request alike and keeps its headers.
type recorder struct {
	mu     sync.Mutex
	tokens []string
	users  []string
}

func (r *recorder) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	user, _, _ := req.BasicAuth()
	r.tokens = append(r.tokens, req.Header.Get(tokenHeader))
	r.users = append(r.users, user)
	_, _ = w.Write([]byte(`"127.0.0.1:8300"`))
}

func ask(t *testing.T, c *api.Client) {
	t.Helper()
	if _, err := c.Status().Leader(); err != nil {
		t.Fatal(err)
	}
}

func clientOf(t *testing.T, s Options) *Client {
	t.Helper()
	c, err := NewClient(s, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.CloseIdleConnections)
	return c
}

func TestARotatedTokenIsInUseFromTheNextRequestOn(t *testing.T) {
	var agent recorder
	server := httptest.NewServer(&agent)
	defer server.Close()
	file := filepath.Join(t.TempDir(), "token")

	agenttest.WriteFile(t, file, "first\n")
	c := clientOf(t, Options{Address: server.URL, TokenFile: file})
	ask(t, c.Client)
	agenttest.WriteFile(t, file, "second\n")
	ask(t, c.Client)
	agenttest.WriteFile(t, file, "") // half of a replacement
	ask(t, c.Client)
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	ask(t, c.Client)
	agenttest.WriteFile(t, file, "third")
	ask(t, c.Client)

	if want := []string{"first", "second", "second", "second", "third"}; !slices.Equal(agent.tokens, want) {
		t.Errorf("tokens %q, want %q", agent.tokens, want)
	}
}

func TestAnInheritedTokenNeverReachesTheAgent(t *testing.T) {
	// The process has the agent's own environment; consul/api reads it too.
	t.Setenv("CONSUL_HTTP_TOKEN", "inherited")
	t.Setenv("CONSUL_HTTP_TOKEN_FILE", filepath.Join(t.TempDir(), "gone"))
	var agent recorder
	server := httptest.NewServer(&agent)
	defer server.Close()

	ask(t, clientOf(t, Options{Address: server.URL, Token: "ours"}).Client)
	ask(t, clientOf(t, Options{Address: server.URL}).Client)
	if want := []string{"ours", ""}; !slices.Equal(agent.tokens, want) {
		t.Errorf("tokens %q, want %q", agent.tokens, want)
	}
}

func TestBasicAuthGoesWithEachRequest(t *testing.T) {
	var agent recorder
	server := httptest.NewServer(&agent)
	defer server.Close()
	ask(t, clientOf(t, Options{Address: server.URL, Auth: &api.HttpBasicAuth{Username: "ops", Password: "s3cret"}}).Client)
	if !slices.Equal(agent.users, []string{"ops"}) {
		t.Errorf("users %q", agent.users)
	}
}

func TestTheAgentMayListenOnAUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "consul.sock")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	var agent recorder
	server := &httptest.Server{Listener: ln, Config: &http.Server{Handler: &agent}}
	server.Start()
	defer server.Close()

	ask(t, clientOf(t, Options{Address: "unix://" + path, Token: "ours"}).Client)
	if !slices.Equal(agent.tokens, []string{"ours"}) {
		t.Errorf("tokens %q", agent.tokens)
	}
}

func TestTheAgentMayServeTLS(t *testing.T) {
	var agent recorder
	server := httptest.NewTLSServer(&agent)
	defer server.Close()
	address := server.Listener.Addr().String()

	ask(t, clientOf(t, Options{Address: address, HTTPS: true, TLS: api.TLSConfig{InsecureSkipVerify: true}}).Client)
	if _, err := clientOf(t, Options{Address: "https://" + address}).Status().Leader(); err == nil {
		t.Error("a certificate of nobody's was taken")
	}
}

func TestAServerNameMayComeWithAPort(t *testing.T) {
	// Consul 1.2 hands its proxies host:port.
	c := clientOf(t, Options{Address: DefaultAddress, TLS: api.TLSConfig{Address: "server.dc1.consul:8501"}})
	if got := c.http.TLSClientConfig.ServerName; got != "server.dc1.consul" {
		t.Errorf("server name %q", got)
	}
}
