package devagent

import (
	"cmp"
	"crypto"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/go-hclog"
)

// Options say which agent is played. The zero value is Consul 1.15.4 in
// datacenter "dc1", where what no intention speaks of is allowed.
type Options struct {
	// Managed has the agent answer as Consul 1.5.3 does.
	Managed bool
	// Datacenter is the agent's; empty means "dc1".
	Datacenter string
	// Node is the node's name; empty means "node-1".
	Node string
	// DefaultPolicy is "allow" or "deny", for callers that no intention speaks of;
	// empty means "allow".
	DefaultPolicy string
	// LeafTTL is how long leaf certificates live; zero means 72 hours, Consul's
	// default.
	LeafTTL time.Duration
	// RootKey is the key of the CA's first root; nil makes one. With it the caller
	// may issue what the agent would not: a certificate of another datacenter, or
	// one that has expired.
	RootKey crypto.Signer
	// Logger may be nil.
	Logger hclog.Logger
}

// What is held is bounded, so that no client can fill the process.
const (
	maxServices   = 1024
	maxChecks     = 4096
	maxIntentions = 4096
	maxEntries    = 1024
	maxQueries    = 1024
	maxLeaves     = 1024
	maxRoots      = 16
	maxName       = 256
)

// Agent is the agent. It is safe for concurrent use.
type Agent struct {
	o       Options
	nodeID  string
	handler http.Handler
	logger  hclog.Logger
	probes  prober

	// mu guards everything below. The index grows with each change, as Raft's
	// does, and changed is closed then and made anew.
	mu      sync.Mutex
	index   uint64
	changed chan struct{}

	authority  authority
	leaves     leaves
	services   map[string]*service
	checks     map[string]*check
	intentions []intention
	resolvers  map[string]*resolver
	mesh       *api.MeshConfigEntry // nil without one
	queries    map[string]*query
	// The index of the last change of any of a kind.
	servicesIndex, intentionsIndex, entriesIndex uint64
}

// firstIndex is where the index begins: a server has written about itself by
// then.
const firstIndex = 10

// New makes an agent and its CA. It starts nothing. An error is about
// Options.DefaultPolicy or RootKey.
func New(o Options) (*Agent, error) {
	o.Datacenter = cmp.Or(o.Datacenter, "dc1")
	o.Node = cmp.Or(o.Node, "node-1")
	o.DefaultPolicy = cmp.Or(o.DefaultPolicy, "allow")
	o.LeafTTL = cmp.Or(o.LeafTTL, defaultLeafTTL)
	if o.DefaultPolicy != "allow" && o.DefaultPolicy != "deny" {
		return nil, errors.New("the default policy is neither allow nor deny: " + o.DefaultPolicy)
	}
	if o.Logger == nil {
		o.Logger = hclog.NewNullLogger()
	}
	a := &Agent{
		o:         o,
		nodeID:    newUUID(),
		logger:    o.Logger,
		index:     firstIndex,
		changed:   make(chan struct{}),
		leaves:    leaves{ttl: o.LeafTTL, held: map[string]*leaf{}},
		services:  map[string]*service{},
		checks:    map[string]*check{},
		resolvers: map[string]*resolver{},
		queries:   map[string]*query{},
	}
	a.servicesIndex, a.intentionsIndex, a.entriesIndex = firstIndex, firstIndex, firstIndex
	a.probes.report = a.probed
	if err := a.authority.add(newRoot{trustDomain: newUUID() + ".consul", key: o.RootKey, index: firstIndex}); err != nil {
		return nil, err
	}
	a.handler = guard(a.routes())
	return a, nil
}

// Handler returns what answers requests as Run does, for a server of the caller's
// own. The checks of services that need a connection are made by Run alone.
func (a *Agent) Handler() http.Handler { return a.handler }

// next moves the index on and wakes what blocks; the caller holds mu.
func (a *Agent) next() uint64 {
	a.index++
	close(a.changed)
	a.changed = make(chan struct{})
	return a.index
}
