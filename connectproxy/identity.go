package connectproxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/go-hclog"
	"golang.org/x/sync/errgroup"

	"connect-proxy/config"
	"connect-proxy/connectproxy/watch"
	"connect-proxy/listener"
)

const (
	// clockCheck is how often the leaf's age is looked at, at least: a clock
	// that was set is noticed within it.
	clockCheck = 10 * time.Second
	// minRenewGap is the least time between two questions of the clock guard.
	minRenewGap = time.Second
)

// identityOptions say for whom certificates are fetched, and from where.
type identityOptions struct {
	Client *api.Client
	// Service is the name of the service that is represented. Namespace and
	// Partition are empty for "default".
	Service, Namespace, Partition string
	// TLS says how connections are secured.
	TLS    config.TLS
	Logger hclog.Logger
	// Now is the clock that certificates are judged by; nil means time.Now.
	Now func() time.Time
}

// identity is who this proxy is to its peers, and how it knows theirs: it keeps
// leaf and roots fresh and makes a generation of each pair of them. Handshakes
// in both directions take the generation in force when they begin. It is safe
// for concurrent use.
type identity struct {
	o      identityOptions
	dialer *net.Dialer
	leaf   *watch.Watch[*leaf]
	roots  *watch.Watch[*roots]

	// overdue is set when a newer leaf should long have come.
	overdue *atomic.Bool

	current atomic.Pointer[generation]

	ready chan struct{}
	// toldOf and toldUsable are the generation last logged and how it was; they
	// belong to keep.
	toldOf     *generation
	toldUsable bool

	mu        sync.Mutex // guards refreshed
	refreshed time.Time  // when roots were last asked for because of a peer
}

func newIdentity(o identityOptions) *identity {
	if o.Logger == nil {
		o.Logger = hclog.NewNullLogger()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	overdue := new(atomic.Bool)
	return &identity{
		o:       o,
		overdue: overdue,
		dialer:  listener.NewDialer(),
		ready:   make(chan struct{}),
		leaf: watch.New(watch.Options[*leaf]{
			Name: "leaf", Fetch: fetchLeaf(o, overdue, o.Now), Equal: (*leaf).same, Poll: leafPace, Logger: o.Logger,
		}),
		roots: watch.New(watch.Options[*roots]{
			Name: "roots", Fetch: fetchRoots(o, o.Now), Equal: (*roots).same, Poll: rootsPace, Logger: o.Logger,
		}),
	}
}

// Run keeps the certificates fresh until ctx is done and returns ctx's error.
func (i *identity) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return i.leaf.Run(ctx) })
	g.Go(func() error { return i.roots.Run(ctx) })
	g.Go(func() error { return i.keep(ctx) })
	return g.Wait()
}

// keep puts what the watches bring in use, and guards the leaf's age by the
// clock, since a watch may be stuck.
func (i *identity) keep(ctx context.Context) error {
	timer := time.NewTimer(clockCheck)
	defer timer.Stop()
	var asked time.Time
	for {
		leaf, roots := i.leaf.Changed(), i.roots.Changed()
		i.adopt()
		i.tell()
		now := i.o.Now()
		due := i.renewal(asked)
		if !due.IsZero() && !now.Before(due) {
			i.overdue.Store(true)
			i.leaf.Refresh()
			asked, due = now, i.renewal(now)
		}
		sleep := clockCheck
		if !due.IsZero() {
			sleep = min(max(due.Sub(now), minRenewGap), clockCheck)
		}
		if i.toldOf != nil && !i.toldUsable {
			sleep = min(sleep, minRenewGap) // the clock may be set at any time
		}
		timer.Reset(sleep)
		select {
		case <-leaf:
		case <-roots:
		case <-timer.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// renewal is when to ask for a newer leaf than the one in force, which was last
// asked for at asked: at first with a quarter of its life left, then ever more
// often; zero where there is none.
func (i *identity) renewal(asked time.Time) time.Time {
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

// adopt makes a new generation if there is something new to make it of.
func (i *identity) adopt() {
	l, ok := i.leaf.Latest()
	if !ok {
		return
	}
	r, ok := i.roots.Latest()
	if !ok {
		return
	}
	old, number := i.current.Load(), uint64(1)
	if old != nil {
		number = old.number + 1
		l = choose(old.leaf, l, r, i.o.Now())
		if l == old.leaf && r == old.roots {
			return
		}
	}
	i.current.Store(newGeneration(number, l, r, i.o, i.verify))
}

// tell logs each generation that comes into force, and one that the clock of
// this machine forbids. The first that can be used makes the identity ready.
func (i *identity) tell() {
	g, err := i.usable()
	if g == nil {
		return // nothing yet
	}
	if g == i.toldOf && (err == nil) == i.toldUsable {
		return
	}
	i.toldOf, i.toldUsable = g, err == nil
	args := []any{"peer", g.leaf.id.String(), "serial", g.leaf.serial,
		"not_before", stamp(g.window.from), "not_after", stamp(g.leaf.cert.Leaf.NotAfter), "roots", len(g.roots.answer.Roots),
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

// choose says which leaf to use from now on. A valid one is not given up for
// one that has expired or is not valid yet, that is older, as from a cache that came back, or that
// today's roots do not vouch for: those that do are on their way, and our peers
// get them as we do.
func choose(have, got *leaf, r *roots, now time.Time) *leaf {
	switch {
	case have == got:
		return have
	case have.expired(now), have.early(now) && !got.early(now) && !got.expired(now):
		return got
	case got.expired(now), got.early(now) && !have.early(now), got.olderThan(have):
		return have
	case !r.trusts(got, now) && r.trusts(have, now):
		return have
	}
	return got
}

// Ready returns a channel that is closed once there are a leaf and roots that
// are valid by this clock.
func (i *identity) Ready() <-chan struct{} { return i.ready }

// Problem says in one line why no connection can be made or accepted, or is
// empty.
func (i *identity) Problem() string {
	if err := i.problem(); err != nil {
		return err.Error()
	}
	return ""
}

func (i *identity) problem() error {
	_, err := i.usable()
	return err
}

var errNotReady = errors.New("no certificates yet")

// usable returns the generation in force, with an error if its leaf cannot be
// shown to anyone; nil where there is none yet.
func (i *identity) usable() (*generation, error) {
	g := i.current.Load()
	if g == nil {
		return nil, i.missing()
	}
	now := i.o.Now()
	err := g.window.check(now)
	if why := i.leaf.Status().Err; err != nil && now.After(g.window.until) && why != nil && !isClock(why) {
		err = fmt.Errorf("%w: %w", err, why)
	}
	return g, err
}

func (i *identity) missing() error {
	for _, s := range []watch.Status{i.leaf.Status(), i.roots.Status()} {
		if !s.Has && s.Err != nil {
			return fmt.Errorf("%w: %s: %w", errNotReady, s.Name, s.Err)
		}
	}
	return errNotReady
}
