package dns

import (
	"context"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"connect-proxy/upstream"
	"connect-proxy/upstream/backoff"
)

const (
	// restPace is the time between two questions at rest, and the longest while the
	// destination is in use, which it is for inUse after each connection. leastPace
	// is the shortest.
	restPace  = time.Minute
	leastPace = time.Second
	inUse     = time.Minute
	// usePace is the time between two in use where it is not known how long an answer
	// is valid.
	usePace = 5 * time.Second
	// maxAnswer is how long an answer is waited for.
	maxAnswer = 5 * time.Second
	// complainEvery is how often a streak of failures is logged.
	complainEvery = time.Minute
)

// Lookup asks the DNS. *net.Resolver is one, whose documentation has the contract of
// the methods. They are called by one goroutine, with 5 seconds at most.
type Lookup interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
	LookupSRV(ctx context.Context, service, proto, name string) (string, []*net.SRV, error)
}

// Options describe a destination.
type Options struct {
	// Name is HOST:PORT, or the name of an SRV record (RFC 2782), in full:
	// _service._proto.domain. Required.
	Name string
	// Label is what the destination is called in logs and errors.
	Label string
	// Identity returns what an instance must prove to be that was found as host,
	// which is Name's or the target of a record. Required.
	Identity func(host string) upstream.Identity
	// Lookup is how the DNS is asked; nil means net.DefaultResolver. How long its
	// answers are valid is known of a *net.Resolver alone.
	Lookup Lookup
	// Logger may be nil.
	Logger hclog.Logger
}

// Resolver is an upstream.Resolver of the instances that the DNS names. It is safe
// for concurrent use.
type Resolver struct {
	*upstream.Latest
	o         Options
	lifetimes lifetimes // of the last answers

	epoch time.Time
	used  atomic.Int64 // when a connection was last made, after epoch; 0 before the first
	wake  chan struct{}

	mu   sync.Mutex    // guards next
	next chan struct{} // closed when a question that has not begun is answered
}

var _ upstream.Resolver = (*Resolver)(nil)

// New makes a Resolver, which asks nothing before Run.
func New(o Options) *Resolver {
	if o.Lookup == nil {
		o.Lookup = net.DefaultResolver
	}
	if o.Logger == nil {
		o.Logger = hclog.NewNullLogger()
	}
	o.Logger = o.Logger.With("upstream", o.Label)
	r := &Resolver{
		Latest: upstream.NewLatest(o.Label), o: o, epoch: time.Now(),
		wake: make(chan struct{}, 1), next: make(chan struct{}),
	}
	if system, ok := o.Lookup.(*net.Resolver); ok {
		r.o.Lookup = r.lifetimes.observed(system)
	}
	return r
}

// Run asks until ctx is done, and returns ctx's error. Errors of the DNS are logged
// and kept in Status. It is called once.
func (r *Resolver) Run(ctx context.Context) error {
	var retry backoff.Backoff
	var complained time.Time
	for {
		err := r.ask(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		wait := r.pace()
		switch {
		case err == nil:
			if !complained.IsZero() {
				r.o.Logger.Info("the DNS answers again")
			}
			retry.Reset()
			complained = time.Time{}
		default:
			wait = min(wait, retry.Next())
			if time.Since(complained) >= complainEvery {
				complained = time.Now()
				r.o.Logger.Warn("the DNS names no instances; the last ones known stay in use", "name", r.o.Name, "error", err)
			}
		}
		if err := r.sleep(ctx, wait); err != nil {
			return err
		}
	}
}

// sleep waits for so long, or until a connection needs an answer.
func (r *Resolver) sleep(ctx context.Context, wait time.Duration) error {
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
	case <-r.wake:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// ask asks once, and tells those who wait.
func (r *Resolver) ask(ctx context.Context) error {
	r.mu.Lock()
	answered := r.next
	r.next = make(chan struct{})
	r.mu.Unlock()
	defer close(answered)
	ctx, cancel := context.WithTimeout(ctx, maxAnswer)
	defer cancel()
	r.lifetimes.begin()
	s, err := r.find(ctx)
	if err != nil {
		r.Missed(err)
		return err
	}
	r.Found(s)
	return nil
}

// pace is the time until the next question, a little of it chance so that proxies
// do not ask in step.
func (r *Resolver) pace() time.Duration {
	used := r.used.Load()
	if used == 0 || time.Since(r.epoch)-time.Duration(used) >= inUse {
		return restPace - rand.N(restPace/10)
	}
	valid, known := r.lifetimes.shortest()
	if !known {
		return usePace - rand.N(usePace/10)
	}
	pace := max(valid, leastPace)
	// Asked before its end, a cache gives the same again.
	return min(pace+rand.N(min(pace, restPace)/10), restPace)
}

// Use marks the destination as used, so that during the next minute it is asked for
// whenever its answer is no longer valid. The first Use after a rest waits for an
// answer, or until ctx is done, and reports whether one has come.
func (r *Resolver) Use(ctx context.Context) bool {
	now := int64(time.Since(r.epoch)) + 1
	if last := r.used.Swap(now); last != 0 && time.Duration(now-last) < inUse {
		return false
	}
	r.mu.Lock()
	answered := r.next
	r.mu.Unlock()
	select {
	case r.wake <- struct{}{}:
	default:
	}
	select {
	case <-answered:
		return true
	case <-ctx.Done():
		return false
	}
}
