package connectproxy

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/go-hclog"

	"connect-proxy/connectproxy/watch"
	"connect-proxy/listener"
)

const (
	// defaultMaxStale is the authorizer's MaxStale where none is given.
	defaultMaxStale = 10 * time.Minute

	// decisionLife is how long a decision is used without asking again; those
	// in use are asked again before, at reaskAfter. It is for what shows in no
	// intention: a change of the default policy.
	decisionLife = time.Minute
	reaskAfter   = 45 * time.Second
	// blindLife and blindReask are the same where intentions cannot be watched.
	blindLife  = 5 * time.Second
	blindReask = 8 * time.Second

	// staleWait is how long a connection waits for the agent's word where a
	// former decision is at hand.
	staleWait = time.Second

	// maxIdentities bounds the identities remembered, some 500 bytes each.
	maxIdentities = 4096
)

// authorizerOptions say whose callers are judged, and by which agent.
type authorizerOptions struct {
	Client *api.Client
	// Service is the name of the service that is called. Namespace and
	// Partition are empty for "default".
	Service, Namespace, Partition string
	// MaxStale is how long a decision is used while the agent cannot be asked;
	// zero means defaultMaxStale.
	MaxStale time.Duration
	Logger   hclog.Logger
}

// livePeers are the open connections that a decision can end.
type livePeers interface {
	Peers() []string
	ClosePeers(match func(peer string) bool, r listener.Reason) int
}

// authorizer judges callers. The agent decides, so that precedence, wildcards,
// default policy and L7 rules stay Consul's; a watch on the intentions says when
// to ask it again. In between, a connection is judged from memory. It is safe
// for concurrent use.
type authorizer struct {
	o     authorizerOptions
	ask   askFunc
	match *watch.Watch[intentions]

	// generation counts the states of the intentions. A decision asked for in
	// an earlier one is not used while the agent can be asked.
	generation atomic.Uint64
	// blind is set while the intentions cannot be watched, and for some time
	// after that.
	blind atomic.Bool
	// asks has room for every decision, and each is in it at most once.
	asks chan *decision

	mu        sync.RWMutex // guards what follows and parts of each decision
	decisions map[string]*decision
	live      []livePeers
	trouble   error     // why the last question to the agent failed
	troubled  time.Time // when that was last logged
}

// decision is what is known about one identity.
type decision struct {
	uri     string
	verdict atomic.Pointer[verdict]
	// used is when a connection was last judged by it, in nanoseconds after
	// epoch.
	used atomic.Int64

	// What follows is guarded by the authorizer's mu.

	serial string
	// asking is closed when the question in flight is answered; nil while there
	// is none. asked is when it was put.
	asking   chan struct{}
	asked    time.Time
	failures int
	retryAt  time.Time // no question before, after one that failed
	err      error     // why the last one failed
}

// verdict is an answer of the agent's. It does not change.
type verdict struct {
	generation uint64
	at         time.Time // when it was asked for
	err        error     // nil or a *listener.Denied
	reason     string
}

// epoch makes a number of a time without losing its monotonic part.
var epoch = time.Now()

func newAuthorizer(o authorizerOptions) *authorizer {
	if o.Logger == nil {
		o.Logger = hclog.NewNullLogger()
	}
	if o.MaxStale <= 0 {
		o.MaxStale = defaultMaxStale
	}
	a := &authorizer{
		o:   o,
		ask: askAgent(o.Client),
		match: watch.New(watch.Options[intentions]{
			Name: "intentions", Fetch: fetchIntentions(o), Logger: o.Logger,
			Equal: func(a, b intentions) bool { return a == b }, Wait: intentionsWait,
		}),
		asks:      make(chan *decision, maxIdentities),
		decisions: make(map[string]*decision),
	}
	a.blind.Store(true) // until the first answer
	return a
}

// Watch adds connections that are to end when their identity is denied.
func (a *authorizer) Watch(live livePeers) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.live = append(a.live, live)
}

// Authorize judges a session, resumed or not. Its error is a *listener.Denied
// where the agent said no, and another where it could not be asked and has not
// answered for this identity in the last MaxStale.
func (a *authorizer) Authorize(ctx context.Context, s listener.Session) error {
	d := a.decision(s)
	now := time.Now()
	d.used.Store(int64(now.Sub(epoch)))
	if v := d.verdict.Load(); a.fresh(v, now) {
		return v.err
	}
	return a.consult(ctx, d, now)
}

// decision finds or adds what is known about the session's identity.
func (a *authorizer) decision(s listener.Session) *decision {
	a.mu.RLock()
	d, ok := a.decisions[s.Peer]
	a.mu.RUnlock()
	if ok {
		return d
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	d = a.add(s.Peer)
	d.serial = s.Serial
	return d
}

// add finds or adds a decision. The caller holds mu.
func (a *authorizer) add(uri string) *decision {
	if d, ok := a.decisions[uri]; ok {
		return d
	}
	if len(a.decisions) >= maxIdentities {
		a.evict()
	}
	d := &decision{uri: uri}
	d.used.Store(int64(time.Since(epoch)))
	a.decisions[uri] = d
	return d
}

// evict forgets the decision that was used least recently. The caller holds mu.
func (a *authorizer) evict() {
	var oldest *decision
	for _, d := range a.decisions {
		if d.asking == nil && (oldest == nil || d.used.Load() < oldest.used.Load()) {
			oldest = d
		}
	}
	if oldest != nil {
		delete(a.decisions, oldest.uri)
	}
}

// fresh reports that a verdict can be used as it is.
func (a *authorizer) fresh(v *verdict, now time.Time) bool {
	if v == nil || v.generation != a.generation.Load() {
		return false
	}
	life := decisionLife
	if a.blind.Load() {
		life = blindLife
	}
	return now.Sub(v.at) < life
}

// consult asks the agent, or joins who does. Connections of one identity share
// a question.
func (a *authorizer) consult(ctx context.Context, d *decision, began time.Time) error {
	for {
		now := time.Now()
		a.mu.Lock()
		v := d.verdict.Load()
		if a.fresh(v, now) || v != nil && !v.at.Before(began) {
			a.mu.Unlock()
			return v.err
		}
		if d.asking == nil && !now.Before(d.retryAt) {
			a.enqueue(d, now)
		}
		asking, asked, err := d.asking, d.asked, d.err
		a.mu.Unlock()

		known := v != nil && now.Sub(v.at) <= a.o.MaxStale
		if asking == nil || known && now.Sub(asked) >= staleWait {
			return unasked(d.uri, v, known, err)
		}
		if answered, err := await(ctx, asking, known, asked.Add(staleWait).Sub(now)); err != nil {
			return fmt.Errorf("authorizing %s: %w", d.uri, err)
		} else if !answered {
			return v.err
		}
	}
}

// unasked is the judgement when the agent does not give one.
func unasked(uri string, v *verdict, known bool, err error) error {
	if known {
		return v.err
	}
	return fmt.Errorf("authorizing %s: %w", uri, err)
}

// await waits for an answer, with a former decision at hand for no more than
// patience. It reports whether the answer came.
func await(ctx context.Context, asking <-chan struct{}, known bool, patience time.Duration) (bool, error) {
	var over <-chan time.Time
	if known {
		t := time.NewTimer(patience)
		defer t.Stop()
		over = t.C
	}
	select {
	case <-asking:
		return true, nil
	case <-over:
		return false, nil
	case <-ctx.Done():
		return false, ctx.Err()
	}
}
