package authorize

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/go-hclog"
	"golang.org/x/sync/errgroup"

	"connect-proxy/listener"
	"connect-proxy/upstream/watch"
)

// DefaultMaxStale is MaxStale where none is given.
const DefaultMaxStale = 10 * time.Minute

// Options say whose callers are judged, and by which agent.
type Options struct {
	// Client reaches the local agent. Required.
	Client *api.Client
	// Service is the name of the service that is called. Namespace and
	// Partition are empty for "default".
	Service, Namespace, Partition string
	// MaxStale is how long a decision is used while the agent cannot be asked;
	// zero means DefaultMaxStale.
	MaxStale time.Duration
	// Logger may be nil.
	Logger hclog.Logger
}

// Peers are the open connections that a decision can end.
type Peers interface {
	// Peers lists the distinct identities that have a connection.
	Peers() []string
	// ClosePeers cuts the connections of every identity that matches, and
	// returns their number.
	ClosePeers(match func(peer string) bool, r listener.Reason) int
}

// Authorizer judges callers. The agent decides, so that precedence, wildcards,
// default policy and L7 rules stay Consul's; a watch on the intentions says when
// to ask it again. In between, a connection is judged from memory. It is safe
// for concurrent use.
type Authorizer struct {
	o     Options
	query queryFunc
	match *watch.Watch[intentions]

	// generation counts the states of the intentions. A decision asked for in
	// an earlier one is not used while the agent can be asked.
	generation atomic.Uint64
	// unwatched is set while the intentions cannot be watched, and for some time
	// after that.
	unwatched atomic.Bool
	// failing holds one call to look at how the watch is doing.
	failing chan struct{}
	// queue has room for every caller, and each is in it at most once.
	queue chan *caller

	mu      sync.RWMutex // guards what follows and parts of each caller
	callers map[string]*caller
	peers   []Peers
	lastErr error     // why the last question to the agent failed
	warned  time.Time // when that was last logged
}

// New makes an Authorizer and starts nothing.
func New(o Options) *Authorizer {
	if o.Logger == nil {
		o.Logger = hclog.NewNullLogger()
	}
	if o.MaxStale <= 0 {
		o.MaxStale = DefaultMaxStale
	}
	a := &Authorizer{
		o:       o,
		query:   queryAgent(o.Client),
		failing: make(chan struct{}, 1),
		queue:   make(chan *caller, maxCallers),
		callers: make(map[string]*caller),
	}
	a.match = watch.New(watch.Options[intentions]{
		Name: "intentions", Fetch: fetchIntentions(o), Logger: o.Logger, Notify: a.lookAtWatch,
		Equal: func(a, b intentions) bool { return a == b }, Wait: intentionsWait,
	})
	a.unwatched.Store(true) // until the first answer
	return a
}

// lookAtWatch has recheck see how the watch is doing.
func (a *Authorizer) lookAtWatch() {
	select {
	case a.failing <- struct{}{}:
	default:
	}
}

// Watch adds connections that are to end when their identity is denied.
func (a *Authorizer) Watch(p Peers) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.peers = append(a.peers, p)
}

// Run asks the agent until ctx is done and returns ctx's error. Without it
// nobody is authorized. It is called once.
func (a *Authorizer) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	changed := a.match.Changed() // before the first answer, which may come at once
	g.Go(func() error { return a.match.Run(ctx) })
	g.Go(func() error { return a.recheck(ctx, changed) })
	for range maxQueries {
		g.Go(func() error { return a.serveQueue(ctx) })
	}
	return g.Wait()
}

// Authorize judges a session, resumed or not. Its error is a *listener.Denied
// where the agent said no, and another where it could not be asked and has not
// answered for this identity in the last MaxStale.
func (a *Authorizer) Authorize(ctx context.Context, s listener.Session) error {
	_, err := a.Judge(ctx, s)
	return err
}

// Judge is Authorize, and says where the decision is from.
func (a *Authorizer) Judge(ctx context.Context, s listener.Session) (Origin, error) {
	c := a.caller(s)
	now := time.Now()
	c.lastUsed.Store(int64(now.Sub(epoch)))
	if d := c.decision.Load(); a.usable(d, now) {
		return OriginCache, d.err
	}
	return a.awaitDecision(ctx, c, now)
}
