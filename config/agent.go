package config

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/go-hclog"

	"connect-proxy/upstream/watch"
)

// The registration is asked for every leastPause, and less often where it takes
// the agent long to tell, as that of a thousand upstreams does: a share of one in
// costShare of its time is spent on it. It is not held as a blocking query: that
// would take a connection to the agent for itself, and the hash of a managed
// proxy does not cover the service's port or the agent-wide defaults.
const (
	leastPause = 2 * time.Second
	mostPause  = 10 * time.Second
	costShare  = 1000
)

// managedKill is what an agent leaves a managed proxy between SIGINT and
// SIGKILL.
const managedKill = 5 * time.Second

// AgentOptions say which proxy of which agent is meant.
type AgentOptions struct {
	// Client is required. It carries the token, and Consul Enterprise's
	// namespace and partition.
	Client *api.Client
	// Address is what messages call the agent; empty means "the local agent".
	Address string

	// ProxyID is the agent's ID of the proxy service. Exactly one of ProxyID
	// and SidecarFor is given.
	ProxyID string
	// SidecarFor is the ID of a service: its only proxy on the agent is meant.
	SidecarFor string
	// Managed is a proxy that the agent launched itself.
	Managed bool

	// Override, if given, alters each configuration before its defaults and
	// its validation: it is how flags win over what the agent says.
	Override func(*Config)
	// Logger may be nil.
	Logger hclog.Logger
}

// Agent is a Source that watches a proxy's registration on the local agent.
type Agent struct {
	o     AgentOptions
	watch *watch.Watch[agentAnswer]
	// found is the proxy of SidecarFor once it is known. cost is how long an
	// answer takes; one that took long by chance does not count for much. They
	// belong to fetch.
	found string
	cost  time.Duration
	// body is where answers are read to, and last the last that was understood; they
	// belong to fetch too.
	body bytes.Buffer
	last agentAnswer
	// lastGiven belongs to Next.
	lastGiven *Config

	mu      sync.Mutex // guards invalid
	invalid *Invalid
}

var (
	_ Source    = (*Agent)(nil)
	_ Confirmer = (*Agent)(nil)
)

// NewAgent makes a Source of an agent. It asks nothing yet.
func NewAgent(o AgentOptions) *Agent {
	if o.Address == "" {
		o.Address = "the local agent"
	}
	a := &Agent{o: o}
	a.watch = watch.New(watch.Options[agentAnswer]{
		Name:   "configuration",
		Fetch:  a.fetch,
		Equal:  func(a, b agentAnswer) bool { return a == b },
		Pace:   func() time.Duration { return min(max(a.cost*costShare, leastPause), mostPause) },
		Logger: o.Logger,
	})
	return a
}

// Next is Source's. An *Invalid is reported once for as long as the agent says
// the same.
func (a *Agent) Next(ctx context.Context) (*Config, error) {
	if (a.o.ProxyID == "") == (a.o.SidecarFor == "") {
		return nil, &Invalid{Origin: a.o.Address, Mistakes: []Mistake{{Problem: "give exactly one of -proxy-id and -sidecar-for"}}}
	}
	// The watch begins each time with a question that is answered at once, so
	// nothing that changed between two calls is missed.
	watching, stop := context.WithCancel(ctx)
	var done sync.WaitGroup
	done.Go(func() { _ = a.watch.Run(watching) })
	defer done.Wait()
	defer stop()
	for {
		changed := a.watch.Changed()
		if ans, ok := a.watch.Latest(); ok {
			if cfg, err := a.decodeIfChanged(ans); cfg != nil || err != nil {
				return cfg, err
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// Confirmed is Confirmer's: the agent's last answer.
func (a *Agent) Confirmed() time.Time { return a.watch.Status().Fresh }

// Problem is Source's.
func (a *Agent) Problem() string {
	if err := a.watch.Status().Err; err != nil {
		return err.Error()
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.invalid == nil {
		return ""
	}
	return a.invalid.Error()
}

// decodeIfChanged makes a configuration of an answer. It returns neither where the
// answer means what was said last.
func (a *Agent) decodeIfChanged(ans agentAnswer) (*Config, error) {
	cfg, mistakes := a.read(ans)
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(mistakes) > 0 {
		was := a.invalid
		a.invalid = &Invalid{Origin: a.origin(ans), Mistakes: mistakes}
		if was != nil && was.Error() == a.invalid.Error() {
			return nil, nil
		}
		a.lastGiven = nil // whoever hears of the mistake is to hear of its end
		return nil, a.invalid
	}
	a.invalid = nil
	if a.lastGiven != nil && reflect.DeepEqual(a.lastGiven, cfg) {
		return nil, nil
	}
	a.lastGiven = cfg
	return cfg, nil
}

func (a *Agent) origin(ans agentAnswer) string {
	return fmt.Sprintf("proxy %s at %s", quoted(ans.id), a.o.Address)
}

// read decodes, completes and validates.
func (a *Agent) read(ans agentAnswer) (*Config, []Mistake) {
	if ans.candidates != "" {
		return nil, []Mistake{{
			Field:   "-sidecar-for",
			Value:   quoted(a.o.SidecarFor),
			Problem: "several proxies are registered for it: choose one with -proxy-id: " + ans.candidates,
		}}
	}
	r := ans.decode(a.o.Managed)
	if r.unusable {
		return nil, r.mistakes
	}
	if a.o.Override != nil {
		a.o.Override(&r.cfg)
	}
	if a.o.Managed && r.cfg.DrainTimeout > managedKill {
		r.warn("drain_timeout %s is longer than the %s after which the agent kills a managed proxy", r.cfg.DrainTimeout, managedKill)
	}
	cfg := r.cfg.WithDefaults()
	r.validate(cfg)
	return &cfg, r.mistakes
}

// agentAnswer is what an agent said of the proxy, as it came. It is comparable.
type agentAnswer struct {
	id string
	// managed says which of the two endpoints answered.
	managed bool
	body    string
	// candidates are the IDs of several proxies, where one was looked for.
	candidates string
}

// fetch asks for the registration once, or finds out whose to ask for.
func (a *Agent) fetch(ctx context.Context, _ watch.Cursor, _ time.Duration) (agentAnswer, watch.Cursor, error) {
	id := a.o.ProxyID
	if a.o.SidecarFor != "" {
		if a.found == "" {
			ids, err := a.sidecars(ctx)
			switch {
			case err != nil:
				return agentAnswer{}, watch.Cursor{}, err
			case len(ids) > 1:
				return agentAnswer{id: a.o.SidecarFor, candidates: strings.Join(ids, ", ")}, watch.Cursor{}, nil
			}
			a.found = ids[0]
		}
		id = a.found
	}
	began := time.Now()
	ans, err := a.queryProxy(id, (&api.QueryOptions{}).WithContext(ctx))
	took := time.Since(began)
	if a.cost > 0 {
		took = min(took, a.cost+a.cost/4)
	}
	a.cost = took
	if errors.Is(err, errUnknown) {
		// The sidecar may come back under another ID.
		a.found = ""
	}
	return ans, watch.Cursor{}, err
}
