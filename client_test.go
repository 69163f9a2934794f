package main

import (
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/go-hclog"
)

// fakeEnviron is an environment of the test's own.
func fakeEnviron(vars map[string]string) environ {
	return func(name string) string { return vars[name] }
}

func TestTheTokenIsTheMostSpecificOneGiven(t *testing.T) {
	everything := map[string]string{
		"CONNECT_PROXY_TOKEN":    "proxy",
		"CONSUL_HTTP_TOKEN_FILE": "inherited.txt",
		"CONSUL_HTTP_TOKEN":      "inherited",
	}
	for name, tc := range map[string]struct {
		flags       agentFlags
		env         map[string]string
		token, file string
	}{
		"none":                           {},
		"the file's flag first":          {agentFlags{token: "flag", tokenFile: "flag.txt"}, everything, "flag", "flag.txt"},
		"then the flag":                  {agentFlags{token: "flag"}, everything, "flag", ""},
		"then the agent's for us":        {agentFlags{}, everything, "proxy", ""},
		"then the inherited file":        {agentFlags{}, map[string]string{"CONSUL_HTTP_TOKEN_FILE": "inherited.txt", "CONSUL_HTTP_TOKEN": "inherited"}, "inherited", "inherited.txt"},
		"then the inherited one":         {agentFlags{}, map[string]string{"CONSUL_HTTP_TOKEN": "inherited"}, "inherited", ""},
		"an empty value is an unset one": {agentFlags{}, map[string]string{"CONNECT_PROXY_TOKEN": "", "CONSUL_HTTP_TOKEN_FILE": "", "CONSUL_HTTP_TOKEN": "inherited"}, "inherited", ""},
	} {
		t.Run(name, func(t *testing.T) {
			s, problems := tc.flags.settings(fakeEnviron(tc.env))
			if len(problems) > 0 {
				t.Fatal(problems)
			}
			if s.token != tc.token || s.tokenFile != tc.file {
				t.Errorf("token %q, file %q; want %q, %q", s.token, s.tokenFile, tc.token, tc.file)
			}
		})
	}
}

func TestAFlagBeatsItsVariable(t *testing.T) {
	env := map[string]string{
		"CONSUL_HTTP_ADDR": "127.0.0.2:8500", "CONSUL_CACERT": "env-ca", "CONSUL_CAPATH": "env-path",
		"CONSUL_CLIENT_CERT": "env-cert", "CONSUL_CLIENT_KEY": "env-key", "CONSUL_TLS_SERVER_NAME": "env-name",
		"CONSUL_NAMESPACE": "env-ns", "CONSUL_PARTITION": "env-ap",
	}
	flags := agentFlags{
		httpAddr: "127.0.0.3:8500", caFile: "ca", caPath: "path", clientCert: "cert", clientKey: "key",
		tlsServerName: "name", namespace: "ns", partition: "ap", datacenter: "dc2",
	}
	for name, tc := range map[string]struct {
		flags agentFlags
		want  []string
	}{
		"flags":       {flags, []string{"127.0.0.3:8500", "ca", "path", "cert", "key", "name", "ns", "ap", "dc2"}},
		"environment": {agentFlags{}, []string{"127.0.0.2:8500", "env-ca", "env-path", "env-cert", "env-key", "env-name", "env-ns", "env-ap", ""}},
	} {
		t.Run(name, func(t *testing.T) {
			s, problems := tc.flags.settings(fakeEnviron(env))
			if len(problems) > 0 {
				t.Fatal(problems)
			}
			got := []string{s.address, s.tls.CAFile, s.tls.CAPath, s.tls.CertFile, s.tls.KeyFile,
				s.tls.Address, s.namespace, s.partition, s.datacenter}
			if !slices.Equal(got, tc.want) {
				t.Errorf("got  %q\nwant %q", got, tc.want)
			}
		})
	}
}

func TestTheAgentIsDialledWhereItCanBeReached(t *testing.T) {
	for given, want := range map[string]string{
		"":                          "127.0.0.1:8500",
		"127.0.0.1:8501":            "127.0.0.1:8501",
		"0.0.0.0:8501":              "127.0.0.1:8501",
		"[::]:8501":                 "[::1]:8501",
		"[::1]:8501":                "[::1]:8501",
		":8501":                     "127.0.0.1:8501",
		"http://0.0.0.0:8501":       "http://127.0.0.1:8501",
		"https://[::]:8501":         "https://[::1]:8501",
		"https://consul.local:8501": "https://consul.local:8501",
		"unix:///run/consul.sock":   "unix:///run/consul.sock",
		"unix:/run/consul.sock":     "unix:///run/consul.sock",
		"consul.local":              "consul.local",
		"HTTPS://consul.local":      "https://consul.local",
		"http://proxy/consul/":      "http://proxy/consul",
		"http://127.0.0.1:8500/":    "http://127.0.0.1:8500",
		"http://127.0.0.1:8500//":   "http://127.0.0.1:8500",
		"127.0.0.1:8500/":           "127.0.0.1:8500",
		"proxy:80/consul/":          "http://proxy:80/consul",
		"https://0.0.0.0:8501/a/b":  "https://127.0.0.1:8501/a/b",
	} {
		s, problems := new(agentFlags).settings(fakeEnviron(map[string]string{"CONSUL_HTTP_ADDR": given}))
		if s.address != want || len(problems) > 0 {
			t.Errorf("CONSUL_HTTP_ADDR=%s: %q, want %q; %q", given, s.address, want, problems)
		}
	}
}

func TestAnAddressThatCannotBeMeantIsRefused(t *testing.T) {
	for given, want := range map[string]string{
		"ftp://127.0.0.1":               "http://",
		"http://":                       "the host is missing",
		"/run/consul.sock":              "the host is missing",
		"unix://":                       "a path is missing",
		"::1":                           "[::1]:8500",
		"http://::1:8500":               "[::1]:8500",
		"http://127.0.0.1:8500/?dc=dc2": "ends with the path",
		"http://ops:s3cret@consul:8500": "CONSUL_HTTP_AUTH",
	} {
		_, problems := new(agentFlags).settings(fakeEnviron(map[string]string{"CONSUL_HTTP_ADDR": given}))
		text := strings.Join(problems, "\n")
		if !strings.Contains(text, want) || strings.Contains(text, "s3cret") {
			t.Errorf("CONSUL_HTTP_ADDR=%s: %q, want %q in it", given, text, want)
		}
	}
}

func TestTLSToTheAgentFollowsTheEnvironment(t *testing.T) {
	for name, tc := range map[string]struct {
		env           map[string]string
		https, verify bool
		problems      int
	}{
		"nothing said":           {nil, false, true, 0},
		"empty is not said":      {map[string]string{"CONSUL_HTTP_SSL": "", "CONSUL_HTTP_SSL_VERIFY": ""}, false, true, 0},
		"on":                     {map[string]string{"CONSUL_HTTP_SSL": "true"}, true, true, 0},
		"on and unverified":      {map[string]string{"CONSUL_HTTP_SSL": "1", "CONSUL_HTTP_SSL_VERIFY": "false"}, true, false, 0},
		"misspelt, so not taken": {map[string]string{"CONSUL_HTTP_SSL": "on", "CONSUL_HTTP_SSL_VERIFY": "offf"}, false, true, 2},
	} {
		t.Run(name, func(t *testing.T) {
			s, problems := new(agentFlags).settings(fakeEnviron(tc.env))
			if s.https != tc.https || s.tls.InsecureSkipVerify == tc.verify || len(problems) != tc.problems {
				t.Errorf("https %t, verify %t, problems %q", s.https, !s.tls.InsecureSkipVerify, problems)
			}
		})
	}
}

func TestAServerNameMayComeWithAPort(t *testing.T) {
	// Consul 1.2 hands its proxies host:port.
	s, _ := new(agentFlags).settings(fakeEnviron(map[string]string{"CONSUL_TLS_SERVER_NAME": "server.dc1.consul:8501"}))
	c, err := newClient(s, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	if got := c.http.TLSClientConfig.ServerName; got != "server.dc1.consul" {
		t.Errorf("server name %q", got)
	}
}

// recorder is an agent that answers every request alike and keeps its headers.
type recorder struct {
	mu     sync.Mutex
	tokens []string
	users  []string
	dcs    []string
}

func (r *recorder) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	user, _, _ := req.BasicAuth()
	r.tokens = append(r.tokens, req.Header.Get(tokenHeader))
	r.users = append(r.users, user)
	r.dcs = append(r.dcs, req.URL.Query().Get("dc"))
	_, _ = w.Write([]byte(`"127.0.0.1:8300"`))
}

func ask(t *testing.T, c *api.Client) {
	t.Helper()
	if _, err := c.Status().Leader(); err != nil {
		t.Fatal(err)
	}
}

func clientOf(t *testing.T, flags agentFlags, vars map[string]string) agentClient {
	t.Helper()
	s, problems := flags.settings(fakeEnviron(vars))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	c, err := newClient(s, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.transport.CloseIdleConnections)
	return c
}

func TestARotatedTokenIsInUseFromTheNextRequestOn(t *testing.T) {
	var agent recorder
	server := httptest.NewServer(&agent)
	defer server.Close()
	file := filepath.Join(t.TempDir(), "token")

	write(t, file, "first\n")
	c := clientOf(t, agentFlags{httpAddr: server.URL, tokenFile: file}, nil)
	ask(t, c.Client)
	write(t, file, "second\n")
	ask(t, c.Client)
	write(t, file, "") // half of a replacement
	ask(t, c.Client)
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	ask(t, c.Client)
	write(t, file, "third")
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

	ask(t, clientOf(t, agentFlags{httpAddr: server.URL}, map[string]string{"CONNECT_PROXY_TOKEN": "ours"}).Client)
	ask(t, clientOf(t, agentFlags{httpAddr: server.URL}, nil).Client)
	if want := []string{"ours", ""}; !slices.Equal(agent.tokens, want) {
		t.Errorf("tokens %q, want %q", agent.tokens, want)
	}
}

func TestBasicAuthGoesWithEachRequestAndADatacenterWithNone(t *testing.T) {
	var agent recorder
	server := httptest.NewServer(&agent)
	defer server.Close()
	ask(t, clientOf(t, agentFlags{httpAddr: server.URL, datacenter: "dc2"}, map[string]string{"CONSUL_HTTP_AUTH": "ops:s3cret"}).Client)
	if !slices.Equal(agent.users, []string{"ops"}) || !slices.Equal(agent.dcs, []string{""}) {
		t.Errorf("users %q, datacenters %q", agent.users, agent.dcs)
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

	ask(t, clientOf(t, agentFlags{httpAddr: "unix://" + path, token: "ours"}, nil).Client)
	if !slices.Equal(agent.tokens, []string{"ours"}) {
		t.Errorf("tokens %q", agent.tokens)
	}
}

func TestTheAgentMayServeTLS(t *testing.T) {
	var agent recorder
	server := httptest.NewTLSServer(&agent)
	defer server.Close()
	address := server.Listener.Addr().String()

	ask(t, clientOf(t, agentFlags{httpAddr: address}, map[string]string{"CONSUL_HTTP_SSL": "true", "CONSUL_HTTP_SSL_VERIFY": "false"}).Client)
	if _, err := clientOf(t, agentFlags{httpAddr: "https://" + address}, nil).Status().Leader(); err == nil {
		t.Error("a certificate of nobody's was taken")
	}
}
