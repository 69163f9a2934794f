package fakeagent

import (
	"crypto/ecdsa"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/hashicorp/consul/api"

	"connect-proxy/connectproxy/agenttest/traffic"
	"connect-proxy/connectproxy/devagent"
	"connect-proxy/listener/listenertest"
)

// Options say which agent is played. The zero value is Consul 1.15.4 in
// datacenter "dc1" with everything allowed by default.
type Options struct {
	// Managed answers as Consul 1.5.3 does.
	Managed bool
	// DefaultPolicy is "allow" or "deny"; empty is "allow".
	DefaultPolicy string
	// InMemory serves no port: Client alone reaches the agent. One for a
	// synctest bubble must be made in it.
	InMemory bool
}

// Agent is the agent. Its Front counts requests and spoils answers.
type Agent struct {
	*traffic.Front
	// URL is the server's, without a slash at the end; Addr is host:port. Both
	// are empty in memory.
	URL, Addr string

	t         testing.TB
	managed   bool
	dev       *devagent.Agent
	transport http.RoundTripper

	mu      sync.Mutex // guards what follows
	ca      *listenertest.CA
	answers map[string]any // what the test has said, by path
	frozen  map[string]any // what a question for something newer gets, by path
	stuck   bool           // see StickLeafs
}

// New starts an agent that ends with the test.
func New(t testing.TB, o Options) *Agent {
	t.Helper()
	key := listenertest.NewKey(t)
	dev, err := devagent.New(devagent.Options{Managed: o.Managed, DefaultPolicy: o.DefaultPolicy, RootKey: key})
	if err != nil {
		t.Fatalf("making the agent: %v", err)
	}
	a := &Agent{t: t, managed: o.Managed, dev: dev, answers: map[string]any{}, frozen: map[string]any{}}
	a.adopt(key)
	a.Front = traffic.New(http.HandlerFunc(a.answer))
	if o.InMemory {
		a.transport = traffic.Direct{Handler: a.Front}
		t.Cleanup(a.Front.Close)
		return a
	}
	transport := &http.Transport{}
	a.transport = transport
	server := httptest.NewServer(a.Front)
	a.URL, a.Addr = server.URL, server.Listener.Addr().String()
	t.Cleanup(func() {
		a.Front.Close()
		transport.CloseIdleConnections()
		server.CloseClientConnections()
		server.Close()
	})
	return a
}

// Client makes a client of the agent with that token, empty for none.
func (a *Agent) Client(token string) *api.Client {
	a.t.Helper()
	address := a.Addr
	if address == "" {
		address = "127.0.0.1"
	}
	c, err := api.NewClient(&api.Config{
		Address: address, Scheme: "http", Token: token,
		HttpClient: &http.Client{Transport: a.transport},
	})
	if err != nil {
		a.t.Fatalf("making a client: %v", err)
	}
	return c
}

// adopt takes over the root that the agent has made of key.
func (a *Agent) adopt(key *ecdsa.PrivateKey) {
	a.t.Helper()
	roots := a.devRoots()
	for _, r := range roots.Roots {
		if r.Active {
			a.mu.Lock()
			a.ca = listenertest.CAOf(a.t, r.RootCertPEM, key)
			a.mu.Unlock()
			return
		}
	}
	a.t.Fatal("the agent has no active root")
}

// devRoots are those of the agent itself, whatever the test has said.
func (a *Agent) devRoots() api.CARootList {
	a.t.Helper()
	var roots api.CARootList
	a.do(http.MethodGet, rootsPath, nil, &roots)
	return roots
}
