package dns

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"connect-proxy/upstream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// zone answers what the test puts in.
type zone struct {
	mu      sync.Mutex // guards what follows
	hosts   []string
	records []*net.SRV
	err     error
	asked   int
	hang    bool
}

func (z *zone) set(change func(*zone)) {
	z.mu.Lock()
	defer z.mu.Unlock()
	change(z)
}

func (z *zone) ask(ctx context.Context) error {
	z.mu.Lock()
	z.asked++
	hang, err := z.hang, z.err
	z.mu.Unlock()
	if hang {
		<-ctx.Done()
		return ctx.Err()
	}
	return err
}

func (z *zone) LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	if network != "ip" || host != "redis.example.org" {
		return nil, errors.New("asked for " + network + " of " + host)
	}
	if err := z.ask(ctx); err != nil {
		return nil, err
	}
	z.mu.Lock()
	defer z.mu.Unlock()
	var all []netip.Addr
	for _, h := range z.hosts {
		all = append(all, netip.MustParseAddr(h))
	}
	return all, nil
}

func (z *zone) LookupSRV(ctx context.Context, service, proto, name string) (string, []*net.SRV, error) {
	if service != "" || proto != "" || name != "_redis._tcp.example.org" {
		return "", nil, errors.New("asked for " + service + proto + name)
	}
	if err := z.ask(ctx); err != nil {
		return "", nil, err
	}
	z.mu.Lock()
	defer z.mu.Unlock()
	return name, slices.Clone(z.records), nil
}

func (z *zone) count() int {
	z.mu.Lock()
	defer z.mu.Unlock()
	return z.asked
}

// resolving runs a resolver for the name in a bubble.
func resolving(t *testing.T, name string, z *zone) *Resolver {
	t.Helper()
	r := New(Options{Name: name, Label: "redis", Lookup: z, Identity: func(host string) upstream.Identity { return upstream.Identity{Host: host} }})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	synctest.Wait()
	return r
}

func addresses(t *testing.T, r *Resolver) string {
	t.Helper()
	s, _ := r.Set()
	var all []string
	for _, ep := range s.Endpoints {
		all = append(all, ep.Address)
	}
	return strings.Join(all, " ")
}

func TestAHostNamesAddressesAreItsInstances(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := &zone{hosts: []string{"10.0.0.2", "2001:db8::1", "10.0.0.1", "::ffff:10.0.0.1"}}
		r := resolving(t, "redis.example.org:6379", z)
		if got, want := addresses(t, r), "10.0.0.1:6379 10.0.0.2:6379 [2001:db8::1]:6379"; got != want {
			t.Errorf("%s, want %s", got, want)
		}
		if s, _ := r.Set(); s.Endpoints[0].Identity.Host != "redis.example.org" || s.Ordered {
			t.Errorf("%+v", s)
		}
		var changes atomic.Int32
		defer r.Follow(func() { changes.Add(1) })()
		z.set(func(z *zone) { slices.Reverse(z.hosts) })
		after(2 * restPace)
		if changes.Load() != 0 {
			t.Error("another order is a change")
		}
		z.set(func(z *zone) { z.hosts = []string{"10.0.0.3"} })
		after(2 * restPace)
		if got := addresses(t, r); got != "10.0.0.3:6379" || changes.Load() != 1 {
			t.Errorf("%s after %d changes", got, changes.Load())
		}
	})
}

func TestADestinationInUseIsAskedForOften(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := &zone{hosts: []string{"10.0.0.1"}}
		r := resolving(t, "redis.example.org:6379", z)
		after(10 * time.Minute)
		if n := z.count(); n < 10 || n > 13 {
			t.Errorf("%d questions in ten minutes at rest", n)
		}
		z.set(func(z *zone) { z.hosts = []string{"10.0.0.2"} })
		if !r.Use(t.Context()) || addresses(t, r) != "10.0.0.2:6379" {
			t.Errorf("the first connection after a rest gets %s", addresses(t, r))
		}
		before := z.count()
		for range 12 {
			if r.Use(t.Context()) {
				t.Error("a connection waits while the destination is in use")
			}
			after(usePace)
		}
		if n := z.count() - before; n < 11 || n > 16 {
			t.Errorf("%d questions in a minute of use", n)
		}
	})
}

func TestTheLastAddressesSurviveTheDNS(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := &zone{hosts: []string{"10.0.0.1"}}
		r := resolving(t, "redis.example.org:6379", z)
		for _, err := range []error{
			&net.DNSError{Name: "redis.example.org", IsNotFound: true}, &net.DNSError{Name: "redis.example.org", Err: "server misbehaving"},
		} {
			z.set(func(z *zone) { z.err = err })
			after(time.Hour)
			if got := addresses(t, r); got != "10.0.0.1:6379" || r.Status().Err == nil || !strings.Contains(r.Status().Err.Error(), "redis.example.org") {
				t.Errorf("%s, %v", got, r.Status().Err)
			}
		}
		z.set(func(z *zone) { z.err, z.hosts = nil, nil })
		after(time.Hour)
		if got := addresses(t, r); got != "10.0.0.1:6379" {
			t.Errorf("an empty answer leaves %q", got)
		}
		z.set(func(z *zone) { z.hosts = []string{"10.0.0.9"} })
		after(2 * restPace)
		if got := addresses(t, r); got != "10.0.0.9:6379" || r.Status().Err != nil {
			t.Errorf("%s, %v", got, r.Status().Err)
		}
	})
}

func TestAServerThatHangsHoldsNobodyForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := &zone{hosts: []string{"10.0.0.1"}}
		r := resolving(t, "redis.example.org:6379", z)
		z.set(func(z *zone) { z.hang = true })
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if r.Use(ctx) {
			t.Error("an answer that nobody gave")
		}
		after(time.Minute)
		if r.Status().Err == nil || addresses(t, r) != "10.0.0.1:6379" {
			t.Errorf("%v, %s", r.Status().Err, addresses(t, r))
		}
	})
}

func TestRecordsAreUsedByWeightAndByPriority(t *testing.T) {
	record := func(target string, port, priority, weight uint16) *net.SRV {
		return &net.SRV{Target: target, Port: port, Priority: priority, Weight: weight}
	}
	for name, tc := range map[string]struct {
		records []*net.SRV
		want    string
		ordered bool
	}{
		"one priority":    {[]*net.SRV{record("b.example.org.", 1, 5, 1), record("a.example.org.", 2, 5, 3)}, "a.example.org:2 b.example.org:1", false},
		"two priorities":  {[]*net.SRV{record("b.example.org.", 1, 20, 9), record("a.example.org.", 2, 10, 0)}, "a.example.org:2 b.example.org:1", true},
		"one that is not": {[]*net.SRV{record(".", 0, 0, 0), record("a.example.org.", 2, 10, 0)}, "a.example.org:2", false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := resolving(t, "_redis._tcp.example.org", &zone{records: tc.records})
				s, _ := r.Set()
				if got := addresses(t, r); got != tc.want || s.Ordered != tc.ordered {
					t.Errorf("%s, ordered %t", got, s.Ordered)
				}
				if h := s.Endpoints[0].Identity.Host; h != "a.example.org" {
					t.Errorf("expected to be %s", h)
				}
			})
		})
	}
	synctest.Test(t, func(t *testing.T) {
		r := resolving(t, "_redis._tcp.example.org", &zone{records: []*net.SRV{record(".", 0, 0, 0)}})
		if _, ok := r.Set(); ok || r.Status().Err == nil {
			t.Errorf("%v", r.Status())
		}
	})
}

// after lets so much of the bubble's time pass, and what is due by then be done.
func after(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}
