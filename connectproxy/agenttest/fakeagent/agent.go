package fakeagent

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"

	"github.com/hashicorp/consul/api"

	"connect-proxy/connectproxy/agenttest/traffic"
)

// Options say which agent is played. The zero value is Consul 1.15.4 in
// datacenter "dc1" with everything allowed by default.
type Options struct {
	// Managed answers as Consul 1.5.3 does: /v1/agent/connect/proxy exists, no
	// answer says the default policy, and a match of intentions has no index.
	Managed bool
	// Datacenter is the agent's; empty is "dc1".
	Datacenter string
	// DefaultPolicy is "allow" or "deny"; empty is "allow".
	DefaultPolicy string
}

// Agent is a fake agent that serves HTTP. Its Front counts requests and spoils
// answers.
type Agent struct {
	*traffic.Front
	// URL is the server's, without a slash at the end; Addr is host:port.
	URL, Addr string

	t         testing.TB
	managed   bool
	dc        string
	transport *http.Transport
	ended     chan struct{}

	// mu guards everything below. The index grows with each change, as Raft's
	// does, and changed is closed then and made anew.
	mu         sync.Mutex
	index      uint64
	changed    chan struct{}
	rewinds    int
	policy     string
	tokens     []string
	authority  authority
	leaves     leaves
	intentions []Intention
	// intentionsIndex is that of the last change of any of them.
	intentionsIndex uint64
	services        map[string]service
	proxies         map[string]service
	checks          map[string]string
	registered      []api.AgentServiceRegistration
	catalog         map[string]catalogEntry
	queries         map[string]Query
	extra           map[string]any
}

// New starts a fake agent that ends with the test.
func New(t testing.TB, o Options) *Agent {
	t.Helper()
	if o.Datacenter == "" {
		o.Datacenter = "dc1"
	}
	if o.DefaultPolicy == "" {
		o.DefaultPolicy = "allow"
	}
	a := &Agent{
		t:         t,
		managed:   o.Managed,
		dc:        o.Datacenter,
		policy:    o.DefaultPolicy,
		transport: &http.Transport{},
		ended:     make(chan struct{}),
		changed:   make(chan struct{}),
		index:     10,
		services:  map[string]service{},
		proxies:   map[string]service{},
		checks:    map[string]string{},
		catalog:   map[string]catalogEntry{},
		queries:   map[string]Query{},
		extra:     map[string]any{},
	}
	a.intentionsIndex = a.index
	a.leaves = leaves{ttl: defaultLeafTTL, cached: map[string]*leaf{}}
	if err := a.authority.add(rootOptions{trustDomain: newTrustDomain(), index: a.index}); err != nil {
		t.Fatalf("making the fake agent's CA: %v", err)
	}
	a.Front = traffic.New(a.routes())
	server := httptest.NewServer(a.Front)
	a.URL, a.Addr = server.URL, server.Listener.Addr().String()
	t.Cleanup(func() {
		close(a.ended)
		a.Front.Close()
		a.transport.CloseIdleConnections()
		server.CloseClientConnections()
		server.Close()
	})
	return a
}

// Client makes a client of the agent with that token, empty for none.
func (a *Agent) Client(token string) *api.Client {
	a.t.Helper()
	c, err := api.NewClient(&api.Config{
		Address:    a.Addr,
		Scheme:     "http",
		Token:      token,
		HttpClient: &http.Client{Transport: a.transport},
	})
	if err != nil {
		a.t.Fatalf("making a client: %v", err)
	}
	return c
}

// RequireToken has every request without one of these tokens answered 403, but
// for the roots, which anybody may read. Without any it takes that back.
func (a *Agent) RequireToken(tokens ...string) {
	a.change(func() { a.tokens = slices.Clone(tokens) })
}

// SetDefaultPolicy sets what becomes of a connection without an intention,
// "allow" or "deny".
func (a *Agent) SetDefaultPolicy(policy string) {
	a.change(func() { a.policy = policy })
}

// Answer has a path that the fake knows nothing of answered with body as JSON.
func (a *Agent) Answer(path string, body any) {
	a.change(func() { a.extra[path] = body })
}

// Touch moves the index on without a change of anything, as the rest of a
// cluster does all the time, so that every blocking query is answered.
func (a *Agent) Touch() {
	a.change(func() {
		a.intentionsIndex = a.index
		for name, e := range a.catalog {
			e.index = a.index
			a.catalog[name] = e
		}
		a.authority.index = a.index
	})
}

// Rewind sets the index back to where it began and answers every blocking
// query, as the restore of a snapshot does.
func (a *Agent) Rewind() {
	a.change(func() {
		a.rewinds++
		a.index = 3
		a.intentionsIndex = a.index
		for name, e := range a.catalog {
			e.index = a.index
			a.catalog[name] = e
		}
		a.authority.index = a.index
	})
}

// change does f under the lock, with the index moved on, and wakes what blocks.
func (a *Agent) change(f func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.index++
	f()
	close(a.changed)
	a.changed = make(chan struct{})
}
