package upstream

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// fakeResolver holds the set that a test gives it.
type fakeResolver struct {
	mu      sync.Mutex // guards what follows
	set     Set
	ok      bool
	status  ResolverStatus
	changed func()
}

func newFakeResolver(eps ...Endpoint) *fakeResolver {
	r := &fakeResolver{changed: func() {}}
	if len(eps) > 0 {
		r.give(Set{Endpoints: eps})
	}
	return r
}

func (r *fakeResolver) give(s Set) {
	r.mu.Lock()
	r.set, r.ok = s, true
	changed := r.changed
	r.mu.Unlock()
	changed()
}

func (r *fakeResolver) say(s ResolverStatus) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status = s
}

func (r *fakeResolver) Set() (Set, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.set, r.ok
}

func (r *fakeResolver) Follow(changed func()) (stop func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.changed = changed
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.changed = func() {}
	}
}

func (r *fakeResolver) Status() ResolverStatus {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.status
}

func (r *fakeResolver) Use(context.Context) bool { return false }

// conn is a connection that cannot do anything.
type conn struct{ net.Conn }

func (conn) Close() error { return nil }

// network is a DialFunc whose instances a test makes fail.
type network struct {
	mu     sync.Mutex // guards what follows
	faults map[string]func(context.Context) error
	dialed map[string]int
}

func newNetwork() *network {
	return &network{faults: make(map[string]func(context.Context) error), dialed: make(map[string]int)}
}

func (n *network) Dial(ctx context.Context, ep Endpoint) (net.Conn, error) {
	n.mu.Lock()
	n.dialed[ep.ID]++
	fault := n.faults[ep.ID]
	n.mu.Unlock()
	if fault != nil {
		if err := fault(ctx); err != nil {
			return nil, err
		}
	}
	return conn{}, nil
}

// fail makes an instance fail; a nil fault mends it.
func (n *network) fail(id string, fault func(context.Context) error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.faults[id] = fault
}

// count is how often an instance has been dialled since the last call.
func (n *network) count(id string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	c := n.dialed[id]
	n.dialed[id] = 0
	return c
}

var errRefused = errors.New("connection refused")

func refuse(context.Context) error { return errRefused }

func blackhole(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }

func impostor(context.Context) error {
	return fmt.Errorf("%w: want svc/db, got svc/web", ErrIdentity)
}

// instances makes n endpoints: n1, n2 and so on.
func instances(n int) []Endpoint {
	eps := make([]Endpoint, n)
	for i := range eps {
		eps[i] = Endpoint{ID: fmt.Sprintf("n%d", i+1), Address: fmt.Sprintf("192.0.2.%d:20000", i+1), Weight: 1}
	}
	return eps
}

// seeded makes an Upstream's choices the same in each run of the test.
func seeded(u *Upstream) *Upstream {
	var mu sync.Mutex
	r := rand.New(rand.NewPCG(7, 11))
	u.random = func(n int) int {
		mu.Lock()
		defer mu.Unlock()
		return r.IntN(n)
	}
	u.round.Store(0)
	return u
}

// start makes an Upstream. Without a Dial it reaches everything.
func start(t *testing.T, o Options) *Upstream {
	t.Helper()
	if o.Name == "" {
		o.Name = "db"
	}
	if o.Dial == nil {
		o.Dial = newNetwork().Dial
	}
	u, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return seeded(u)
}

// dial opens a connection and fails the test if it cannot.
func dial(t *testing.T, u *Upstream) *Conn {
	t.Helper()
	c, err := u.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// held opens n connections, keeps them, and counts them by instance.
func held(t *testing.T, u *Upstream, n int) map[string]int {
	t.Helper()
	by := make(map[string]int)
	for range n {
		by[dial(t, u).Endpoint.ID]++
	}
	return by
}

// after lets d of the bubble's time pass and everything in it come to rest.
func after(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}
