package upstream

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"connect-proxy/upstream/loglimit"
)

// Upstream dials the instances of one destination. Its methods are safe for any
// goroutine.
type Upstream struct {
	resolver Resolver
	log      hclog.Logger
	epoch    time.Time
	// random is rand.IntN but in tests.
	random func(n int) int

	options atomic.Pointer[Options]
	picker  atomic.Pointer[picker] // nil before the first Dial that had a set
	round   atomic.Uint64
	live    atomic.Int64
	// connected counts the attempts that succeeded, failures the others, and
	// asides how often one of those set an instance aside.
	connected        atomic.Uint64
	failures, asides counts
	lines            loglimit.Limit // of instances that are set aside or work again
	// known is closed once there has been a set.
	known    chan struct{}
	unfollow func()

	mu        sync.Mutex // guards what follows, and every instance's trouble and listed
	hasSet    bool       // there has been one
	set       Set
	slots     []instanceSlot // one for each distinct endpoint of set; never altered
	instances map[instanceKey]*instance
	since     time.Time // InUse's, as is changes
	changes   int
}

// New makes an Upstream, which follows its Resolver until Close. The error is a
// mistake in the options.
func New(o Options) (*Upstream, error) {
	o = o.withDefaults()
	if err := o.check(); err != nil {
		return nil, err
	}
	u := &Upstream{
		resolver: o.Resolver,
		log:      o.Logger,
		epoch:    time.Now(),
		random:   rand.IntN,
		known:    make(chan struct{}),
	}
	u.options.Store(&o)
	u.round.Store(rand.Uint64() >> 1) // proxies of a fleet begin at different instances
	u.unfollow = o.Resolver.Follow(u.follow)
	u.follow()
	return u, nil
}

// Close ends what New began. Connections go on, and no more should be dialled.
func (u *Upstream) Close() { u.unfollow() }

// Update swaps the settings for connections dialled from now on. Name, Resolver
// and Logger stay; an unknown balance policy leaves the old one in force.
func (u *Upstream) Update(o Options) {
	old := u.options.Load()
	o = o.withDefaults()
	o.Name, o.Resolver, o.Logger = old.Name, old.Resolver, old.Logger
	if o.Dial == nil {
		o.Dial = old.Dial
	}
	if o.check() != nil {
		o.Balance = old.Balance
	}
	u.options.Store(&o)
}

// follow takes note of the resolver's latest set. Before the first connection
// there is nothing to remember of instances, and maybe never will be.
func (u *Upstream) follow() {
	u.mu.Lock()
	defer u.mu.Unlock()
	s, ok := u.resolver.Set()
	if !ok {
		return
	}
	if !u.hasSet {
		u.hasSet = true
		close(u.known)
	}
	if u.picker.Load() != nil {
		u.apply(s)
	}
}

// instancesNow returns the instances of this moment, or nil before the first set.
func (u *Upstream) instancesNow() *picker {
	if p := u.picker.Load(); p != nil {
		return p
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if s, ok := u.resolver.Set(); ok {
		u.apply(s)
	}
	return u.picker.Load()
}

// apply takes a new set over. What is known of an instance stays as long as it
// is in the set; of one that has gone, only the count of its connections, until
// they have ended too. The caller holds mu.
func (u *Upstream) apply(s Set) {
	if p := u.picker.Load(); p != nil && p.set.Equal(s) {
		return
	}
	slots := make([]instanceSlot, 0, len(s.Endpoints))
	next := make(map[instanceKey]*instance, len(s.Endpoints))
	changed := false
	for _, ep := range s.Endpoints {
		k := instanceKey{ep.ID, ep.Address}
		if next[k] != nil {
			continue
		}
		in := u.instances[k]
		if in == nil {
			in = &instance{}
		}
		changed = changed || !in.listed
		in.listed = true
		next[k] = in
		slots = append(slots, instanceSlot{instance: in, ep: ep, weight: min(max(int64(ep.Weight), 1), maxWeight)})
	}
	changed = changed || len(slots) != len(u.slots)
	for k, in := range u.instances {
		if next[k] == nil && in.live.Load() > 0 {
			in.listed = false
			in.trouble = trouble{since: u.now()}
			in.until.Store(0)
			in.troubled.Store(false)
			next[k] = in
		}
	}
	u.set, u.slots, u.instances = s, slots, next
	u.rebuild()
	if changed { // behind rebuild: a connection that begins from now on goes by it
		u.changes++
		u.since = time.Now()
	}
}

// rebuild makes a picker of the set and of who is set aside. The caller holds
// mu.
func (u *Upstream) rebuild() { u.picker.Store(newPicker(u.slots, u.set, u.now())) }

// remake has a picker made that knows who is set aside now, at once where that costs
// little. The caller holds mu.
func (u *Upstream) remake() {
	p := u.picker.Load()
	if len(p.all) < manyInstances {
		u.rebuild()
		return
	}
	p.due.Store(min(p.due.Load(), p.earliest()))
}

// current returns the picker of this moment, or nil before the first set.
func (u *Upstream) current(now int64) *picker {
	p := u.picker.Load()
	if p == nil || now < p.due.Load() {
		return p
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if p = u.picker.Load(); now >= p.due.Load() {
		u.rebuild()
		p = u.picker.Load()
	}
	return p
}

// now is nanoseconds since the Upstream was made, never zero.
func (u *Upstream) now() int64 { return int64(time.Since(u.epoch)) + 1 }
