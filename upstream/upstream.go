package upstream

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
)

// Upstream dials the instances of one destination. Its methods are safe for any
// goroutine.
type Upstream struct {
	resolver Resolver
	log      hclog.Logger
	epoch    time.Time
	// random is rand.IntN but in tests.
	random func(n int) int

	options  atomic.Pointer[Options]
	picker   atomic.Pointer[picker]
	round    atomic.Uint64
	live     atomic.Int64
	failures [reasons]atomic.Uint64
	// known is closed with the first set.
	known chan struct{}

	mu        sync.Mutex // guards what follows and every instance's trouble
	set       Set
	slots     []slot // one for each distinct endpoint of set; never altered
	instances map[instanceKey]*instance
}

// New makes an Upstream, which knows no instance before Run. The error is a
// mistake in the options.
func New(o Options) (*Upstream, error) {
	o = o.withDefaults()
	if err := o.check(); err != nil {
		return nil, err
	}
	u := &Upstream{
		resolver:  o.Resolver,
		log:       o.Logger.With("upstream", o.Name),
		epoch:     time.Now(),
		random:    rand.IntN,
		known:     make(chan struct{}),
		instances: make(map[instanceKey]*instance),
	}
	u.options.Store(&o)
	u.round.Store(rand.Uint64() >> 1) // proxies of a fleet begin at different instances
	return u, nil
}

// Run keeps the set of instances current until ctx is done and returns ctx's
// error. It runs once.
func (u *Upstream) Run(ctx context.Context) error {
	var resolving sync.WaitGroup
	if !u.options.Load().Shared {
		resolving.Go(func() { _ = u.resolver.Run(ctx) })
	}
	defer resolving.Wait()
	return u.follow(ctx)
}

func (u *Upstream) follow(ctx context.Context) error {
	for {
		changed := u.resolver.Changed()
		if s, ok := u.resolver.Set(); ok {
			u.apply(s)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Update swaps the settings for connections dialled from now on. Name, Resolver,
// Shared and Logger stay; an unknown balance policy leaves the old one in force.
func (u *Upstream) Update(o Options) {
	old := u.options.Load()
	o = o.withDefaults()
	o.Name, o.Resolver, o.Shared, o.Logger = old.Name, old.Resolver, old.Shared, old.Logger
	if o.Dial == nil {
		o.Dial = old.Dial
	}
	if o.check() != nil {
		o.Balance = old.Balance
	}
	u.options.Store(&o)
}

// apply takes a new set over. What is known of an instance stays as long as it
// is in the set; of one that has gone, only the count of its connections, until
// they have ended too.
func (u *Upstream) apply(s Set) {
	u.mu.Lock()
	first := u.picker.Load() == nil
	if !first && u.set.equal(s) {
		u.mu.Unlock()
		return
	}
	before := len(u.slots)
	slots := make([]slot, 0, len(s.Endpoints))
	next := make(map[instanceKey]*instance, len(s.Endpoints))
	for _, ep := range s.Endpoints {
		k := instanceKey{ep.ID, ep.Address}
		if next[k] != nil {
			continue
		}
		in := u.instances[k]
		if in == nil {
			in = &instance{}
		}
		next[k] = in
		slots = append(slots, slot{instance: in, ep: ep, weight: max(int64(ep.Weight), 1)})
	}
	for k, in := range u.instances {
		if next[k] == nil && in.live.Load() > 0 {
			in.trouble = trouble{since: u.now()}
			in.until.Store(0)
			in.troubled.Store(false)
			next[k] = in
		}
	}
	u.set, u.slots, u.instances = s, slots, next
	u.rebuild()
	u.mu.Unlock()
	if first {
		close(u.known)
	}
	u.tellSet(first, before, len(slots))
}

func (u *Upstream) tellSet(first bool, before, now int) {
	switch {
	case now == 0 && (first || before > 0):
		u.log.Warn("no healthy instance")
	case first || before == 0 && now > 0:
		u.log.Info("instances found", "count", now)
	default:
		u.log.Debug("instances changed", "count", now)
	}
}

// rebuild makes a picker of the set and of who is set aside. The caller holds
// mu.
func (u *Upstream) rebuild() { u.picker.Store(newPicker(u.slots, u.set, u.now())) }

// current returns the picker of this moment, or nil before the first set.
func (u *Upstream) current(now int64) *picker {
	p := u.picker.Load()
	if p == nil || now < p.due {
		return p
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if p = u.picker.Load(); now >= p.due {
		u.rebuild()
		p = u.picker.Load()
	}
	return p
}

// now is nanoseconds since the Upstream was made, never zero.
func (u *Upstream) now() int64 { return int64(time.Since(u.epoch)) + 1 }
