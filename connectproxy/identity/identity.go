package identity

import (
	"context"
	"crypto/x509"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/go-hclog"
	"golang.org/x/sync/errgroup"

	"connect-proxy/config"
	"connect-proxy/connectproxy/mtls"
	"connect-proxy/listener"
	"connect-proxy/upstream/watch"
)

const (
	// clockCheck is how often the leaf's age is looked at, at least: a clock
	// that was set is noticed within it.
	clockCheck = 10 * time.Second
	// minRenewGap is the least time between two questions of the clock guard.
	minRenewGap = time.Second
	// maxPeers is how many instances' certificates are remembered by what they say.
	maxPeers = 256
)

// Options say for whom certificates are fetched, and from where.
type Options struct {
	// Client reaches the local agent. Required.
	Client *api.Client
	// Service is the name of the service that is represented. Namespace and
	// Partition are empty for "default".
	Service, Namespace, Partition string
	// Managed says that the agent launched this proxy, as agents of Consul 1.2 to 1.5 do.
	// Certificates are asked for only once their servers have an authority.
	Managed bool
	// Outages counts how often the agent ceased to be reachable: it may have come back
	// without its data since. Nil means that nobody knows. It must not block.
	Outages func() uint64
	// TLS says how connections are secured.
	TLS config.TLS
	// Logger may be nil.
	Logger hclog.Logger
	// Handshook is told of each TLS handshake with an instance that Dial began:
	// how long it took, and what it came to, the session or an error. It must not
	// block. Nil means nobody.
	Handshook func(time.Duration, listener.SessionInfo, error)
	// Now is the clock that certificates are judged by; nil means time.Now.
	Now func() time.Time
}

// Identity is who this proxy is to its peers, and how it knows theirs: it keeps
// leaf and roots fresh and makes a generation of each pair of them. Handshakes
// in both directions take the generation in force when they begin. It is safe
// for concurrent use.
type Identity struct {
	o      Options
	dialer *net.Dialer
	leaf   *watch.Watch[*leafCert]
	roots  *watch.Watch[*rootSet]
	mesh   *watch.Watch[meshTLS]

	// overdue is set when a newer leaf should long have come.
	overdue *atomic.Bool

	// leafExpected is since when the roots speak for a newer leaf; nil while they
	// do not.
	leafExpected atomic.Pointer[time.Time]

	// authority is why there cannot be certificates yet; nil where nothing is known
	// to be in the way.
	authority atomic.Pointer[error]
	// doubted is since when the cluster may have no authority; nil while it has one.
	doubted atomic.Pointer[time.Time]
	// outages is how many the agent had had when that was last looked at.
	outages atomic.Uint64

	current atomic.Pointer[generation]
	changes changeCounts
	// peers has the SPIFFE URIs of instances' certificates.
	peers *mtls.LRU[*x509.Certificate, string]

	ready chan struct{}
	// logged and loggedUsable are the generation last logged, and whether it could
	// be used then; they belong to maintain.
	logged       *generation
	loggedUsable bool

	mu        sync.Mutex // guards refreshed
	refreshed time.Time  // when roots were last asked for because of a peer
}

// New makes an Identity and starts nothing.
func New(o Options) *Identity {
	if o.Logger == nil {
		o.Logger = hclog.NewNullLogger()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Outages == nil {
		o.Outages = func() uint64 { return 0 }
	}
	if o.Handshook == nil {
		o.Handshook = func(time.Duration, listener.SessionInfo, error) {}
	}
	overdue := new(atomic.Bool)
	i := &Identity{
		o:       o,
		overdue: overdue,
		dialer:  listener.NewDialer(),
		ready:   make(chan struct{}),
		mesh:    newMeshWatch(o),
		peers:   mtls.NewLRU[*x509.Certificate, string](maxPeers),
	}
	i.leaf = watch.New(watch.Options[*leafCert]{
		Name: "leaf", Fetch: counting(&i.changes.badLeafs, afterAuthority(i, fetchLeaf(o, overdue, o.Now))), Equal: (*leafCert).same, Pace: i.leafPace, Logger: o.Logger,
	})
	i.roots = watch.New(watch.Options[*rootSet]{
		Name: "roots", Fetch: counting(&i.changes.badRoots, afterAuthority(i, fetchRoots(o, o.Now))), Equal: (*rootSet).same, Poll: rootsInterval, Logger: o.Logger,
	})
	return i
}

// Run keeps the certificates fresh until ctx is done and returns ctx's error.
func (i *Identity) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		if err := i.awaitAuthority(ctx); err != nil {
			return err
		}
		g.Go(func() error { return i.leaf.Run(ctx) })
		return i.roots.Run(ctx)
	})
	g.Go(func() error { return i.mesh.Run(ctx) })
	g.Go(func() error { return i.maintain(ctx) })
	return g.Wait()
}

// maintain puts in use what the watches bring, and asks for a newer leaf by the
// clock, since a watch may be stuck.
func (i *Identity) maintain(ctx context.Context) error {
	timer := time.NewTimer(clockCheck)
	defer timer.Stop()
	var asked time.Time
	for {
		leaf, roots, mesh := i.leaf.Changed(), i.roots.Changed(), i.mesh.Changed()
		i.updateGeneration()
		i.logGeneration()
		now := i.o.Now()
		due := i.nextRenewal(asked)
		if !due.IsZero() && !now.Before(due) {
			i.overdue.Store(true)
			i.leaf.Refresh()
			asked, due = now, i.nextRenewal(now)
		}
		sleep := clockCheck
		if !due.IsZero() {
			sleep = min(max(due.Sub(now), minRenewGap), clockCheck)
		}
		if i.logged == nil || !i.loggedUsable {
			sleep = min(sleep, minRenewGap) // the clock may be set at any time
		}
		timer.Reset(watch.Coalesce(sleep - sleep/10)) // which may add a tenth
		select {
		case <-leaf:
		case <-roots:
		case <-mesh:
		case <-timer.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// nextRenewal returns when to ask for a newer leaf than the one in force, which was last
// asked for at asked: at first with a quarter of its life left, then ever more
// often; zero where there is none.
func (i *Identity) nextRenewal(asked time.Time) time.Time {
	g := i.current.Load()
	if g == nil {
		return time.Time{}
	}
	at := g.leaf.renewAt()
	if asked.Before(at) {
		return at
	}
	left := g.leaf.cert.Leaf.NotAfter.Sub(asked)
	return asked.Add(min(max(left/8, minRenewGap), max(left, clockCheck)))
}

// updateGeneration makes a new generation if a part of it has changed.
func (i *Identity) updateGeneration() {
	l, ok := i.leaf.Latest()
	if !ok {
		return
	}
	r, ok := i.roots.Latest()
	if !ok {
		return
	}
	m, ok := i.meshAnswered()
	if !ok {
		return
	}
	old, number := i.current.Load(), uint64(1)
	if old != nil {
		number = old.number + 1
		l = preferredLeaf(old.leaf, l, r, i.o.Now())
		if l == old.leaf && r == old.roots && m == old.mesh {
			return
		}
		i.expectLeaf(l != old.leaf, r != old.roots)
	}
	switch _, known := i.mesh.Latest(); {
	case old == nil && !known:
		i.o.Logger.Warn("what the mesh configuration entry says of TLS is not known; the proxy's own settings hold until it is",
			"error", i.mesh.Status().Err)
	case old == nil && m != (meshTLS{}), old != nil && m != old.mesh:
		i.logMesh(m)
	}
	if old == nil || l != old.leaf {
		i.changes.leafs.Add(1)
	}
	if old == nil || r != old.roots {
		i.changes.roots.Add(1)
	}
	i.current.Store(newGeneration(number, l, r, m, i.o, i.verify))
}

// logGeneration logs each generation that comes into force, and one that the clock of
// this machine forbids. The first that can be used makes the identity ready.
func (i *Identity) logGeneration() {
	g, err := i.usable()
	if g == nil {
		return // nothing yet
	}
	if g == i.logged && (err == nil) == i.loggedUsable {
		return
	}
	i.logged, i.loggedUsable = g, err == nil
	args := []any{"peer", g.leaf.id.String(), "serial", g.leaf.serial,
		"not_before", timestamp(g.window.from), "not_after", timestamp(g.leaf.cert.Leaf.NotAfter), "roots", len(g.roots.answer.Roots),
		"trust_domain", g.roots.trustDomain, "generation", g.number}
	if err != nil {
		i.o.Logger.Warn("certificates cannot be used by this clock", append(args, "error", err)...)
		return
	}
	i.o.Logger.Info("certificates in force", args...)
	select {
	case <-i.ready:
	default:
		close(i.ready)
	}
}

// Datacenter returns the agent's own, as the leaf says it, or empty before there is
// one. Asking the agent would take a permission more.
func (i *Identity) Datacenter() string {
	if g := i.current.Load(); g != nil {
		return g.leaf.id.datacenter
	}
	return ""
}

// Ready returns a channel that is closed once there are a leaf and roots that
// are valid by this clock.
func (i *Identity) Ready() <-chan struct{} { return i.ready }
