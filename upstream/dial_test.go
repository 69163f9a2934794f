package upstream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// Behaviour 15.
func TestAHundredConnectionsSucceedThoughThreeOfFourInstancesAreBad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		n.fail("n1", refuse)
		n.fail("n2", blackhole)
		n.fail("n3", impostor)
		u := start(t, Options{Resolver: newFakeResolver(instances(4)...), Dial: n.Dial})
		var wg sync.WaitGroup
		began := time.Now()
		for range 100 {
			wg.Go(func() {
				if c := dial(t, u); c.Endpoint.ID != "n4" {
					t.Errorf("connected to %s", c.Endpoint.ID)
				}
			})
		}
		wg.Wait()
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("the slowest took %s: the blackhole ate more than a share or two", took)
		}
		for _, id := range []string{"n1", "n2", "n3", "n4"} {
			n.count(id)
		}
		held(t, u, 50)
		if a, b, c, d := n.count("n1"), n.count("n2"), n.count("n3"), n.count("n4"); a+b+c > 3 || d != 50 {
			t.Errorf("then the bad ones were dialled %d, %d, %d times, the good one %d times; want them skipped", a, b, c, d)
		}
		s := u.Status()
		if s.Failures["identity"] == 0 || s.Failures["timeout"] == 0 || s.Live != 150 {
			t.Errorf("status %+v", s)
		}
		for _, in := range s.Instances[:3] {
			if in.SetAside.IsZero() || in.Err == nil || in.Live != 0 {
				t.Errorf("%s: %+v, want it set aside with its error", in.ID, in)
			}
		}
	})
}

func TestNothingIsTriedAfterASuccess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		u := start(t, Options{Resolver: newFakeResolver(instances(3)...), Dial: n.Dial})
		dial(t, u)
		if total := n.count("n1") + n.count("n2") + n.count("n3"); total != 1 {
			t.Errorf("%d instances dialled for one connection", total)
		}
	})
}

func TestABlackholeLeavesTimeForTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		n.fail("n1", blackhole)
		n.fail("n2", blackhole)
		n.fail("n3", blackhole)
		r := newFakeResolver()
		r.give(Set{Endpoints: instances(4), Ordered: true})
		u := start(t, Options{Resolver: r, Dial: n.Dial, ConnectTimeout: 5400 * time.Millisecond})
		began := time.Now()
		c := dial(t, u)
		// 1/3 of 5.4 s, 1/3 of the 3.6 s left, 1/2 of the 2.4 s left.
		if took := time.Since(began); c.Endpoint.ID != "n4" || took != 4200*time.Millisecond {
			t.Errorf("%s after %s, want n4 after 4.2s", c.Endpoint.ID, took)
		}
	})
}

func TestTheOnlyInstanceGetsAllTheTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		n.fail("n1", func(ctx context.Context) error {
			select {
			case <-time.After(4900 * time.Millisecond):
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
		u := start(t, Options{Resolver: newFakeResolver(instances(1)...), Dial: n.Dial})
		dial(t, u)
	})
}

func TestDialEndsWithItsTimeoutAndNamesEveryAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		n.fail("n1", impostor)
		n.fail("n2", blackhole)
		n.fail("n3", blackhole)
		r := newFakeResolver()
		r.give(Set{Endpoints: instances(3), Ordered: true})
		u := start(t, Options{Resolver: r, Dial: n.Dial, ConnectTimeout: 2 * time.Second})
		began := time.Now()
		_, err := u.Dial(t.Context())
		if took := time.Since(began); took != 2*time.Second {
			t.Errorf("gave up after %s, want the connect timeout", took)
		}
		var de *DialError
		if !errors.As(err, &de) || len(de.Attempts) != 3 {
			t.Fatalf("error %v, want a DialError with three attempts", err)
		}
		if !errors.Is(err, ErrIdentity) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v hides what happened", err)
		}
		if a := de.Attempts[0]; a.Instance != "n1" || a.Reason() != ReasonIdentity || a.Address != "192.0.2.1:20000" {
			t.Errorf("first attempt %+v", a)
		}
		if want := "dialling db: n1 (192.0.2.1:20000) identity: wrong identity: want svc/db, got svc/web; n2 (192.0.2.2:20000) timeout: "; !strings.HasPrefix(err.Error(), want) {
			t.Errorf("error %q, want it to begin with %q", err, want)
		}
		if u.Status().Live != 0 {
			t.Errorf("%d connections counted after a failure", u.Status().Live)
		}
	})
}

func TestALongListOfAttemptsStaysOneShortLine(t *testing.T) {
	e := &DialError{Upstream: "db"}
	for _, ep := range instances(9) {
		e.Attempts = append(e.Attempts, Attempt{Instance: ep.ID, Address: ep.Address, Err: errRefused})
	}
	if s := e.Error(); !strings.HasSuffix(s, "n4 (192.0.2.4:20000) error: connection refused; and 5 instances more") {
		t.Errorf("error %q", s)
	}
	if n := len(e.Unwrap()); n != 9 {
		t.Errorf("%d errors inside, want 9", n)
	}
}

func TestAClientThatGoesAwayBlamesNoInstance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		n.fail("n1", blackhole)
		u := start(t, Options{Resolver: newFakeResolver(instances(1)...), Dial: n.Dial})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		time.AfterFunc(time.Second/2, cancel)
		var de *DialError
		if _, err := u.Dial(ctx); !errors.Is(err, context.Canceled) || !errors.As(err, &de) || len(de.Attempts) > 0 {
			t.Errorf("error %v", err)
		}
		if s := u.Status(); !s.Instances[0].SetAside.IsZero() || s.Instances[0].Err != nil || s.Live != 0 {
			t.Errorf("status %+v", s)
		}
	})
}

func TestALeftoverOfTimeBlamesNoInstance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		n.fail("n1", blackhole)
		r := newFakeResolver()
		u := start(t, Options{Resolver: r, Dial: n.Dial, ConnectTimeout: 2 * time.Second})
		time.AfterFunc(1900*time.Millisecond, func() { r.give(Set{Endpoints: instances(1)}) })
		if _, err := u.Dial(t.Context()); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
		if s := u.Status().Instances[0]; !s.SetAside.IsZero() {
			t.Errorf("set aside after a tenth of a second: %+v", s)
		}
	})
}

// Behaviour 14.
func TestAConnectionIsHeldUntilTheFirstSetComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newFakeResolver()
		u := start(t, Options{Resolver: r, ConnectTimeout: 4 * time.Second})
		time.AfterFunc(3*time.Second, func() { r.give(Set{Endpoints: instances(2)}) })
		began := time.Now()
		dial(t, u)
		if took := time.Since(began); took != 3*time.Second {
			t.Errorf("connected after %s, want when the first set came", took)
		}
	})
}

func TestAConnectionIsHeldUntilReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ready := make(chan struct{})
		n := newNetwork()
		u := start(t, Options{Resolver: newFakeResolver(instances(3)...), Dial: n.Dial, Ready: func(ctx context.Context) error {
			select {
			case <-ready:
				return nil
			case <-ctx.Done():
				return fmt.Errorf("waiting for certificates: %w", ctx.Err())
			}
		}})
		_, err := u.Dial(t.Context())
		if !errors.Is(err, context.DeadlineExceeded) || n.count("n1")+n.count("n2")+n.count("n3") != 0 {
			t.Errorf("not ready: %v", err)
		}
		time.AfterFunc(4*time.Second, func() { close(ready) })
		dial(t, u)
	})
}

func TestWhyThereIsNoEndpointIsSaid(t *testing.T) {
	for _, c := range []struct {
		name   string
		set    *Set
		status ResolverStatus
		want   string
	}{
		{"an empty set", &Set{}, ResolverStatus{}, "dialling db: no instance to connect to: the agent shows none that is healthy and has a Connect proxy, or hides it from the token (service:read, node:read)"},
		{"a set that the token hides", &Set{Filtered: true}, ResolverStatus{}, "dialling db: no instance to connect to: the token may not read them all (service:read on the service and its proxy, node:read)"},
		{"no answer yet", nil, ResolverStatus{}, "dialling db: no instance to connect to: none is known yet: context deadline exceeded"},
		{"an agent that is down", nil, ResolverStatus{Err: errRefused}, "dialling db: no instance to connect to: none is known yet: context deadline exceeded: connection refused"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newFakeResolver()
				if c.set != nil {
					r.give(*c.set)
				}
				r.say(c.status)
				u := start(t, Options{Resolver: r})
				if _, err := u.Dial(t.Context()); !errors.Is(err, ErrNoEndpoints) || err.Error() != c.want {
					t.Errorf("error %q, want %q", err, c.want)
				}
			})
		})
	}
}

func TestEndpointsAreServedForAsLongAsMaxStaleSays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newFakeResolver(instances(2)...)
		o := Options{Resolver: r, MaxStale: time.Minute}
		u := start(t, o)
		r.say(ResolverStatus{Has: true, Fresh: time.Now()})
		after(time.Hour)
		dial(t, u) // healthy: age does not matter
		r.say(ResolverStatus{Has: true, Fresh: time.Now(), Err: errRefused, Failures: 1})
		after(59 * time.Second)
		dial(t, u)
		after(2 * time.Second)
		_, err := u.Dial(t.Context())
		if want := "dialling db: no instance to connect to: the agent was last heard 1m1s ago, the limit is 1m0s: connection refused"; !errors.Is(err, ErrNoEndpoints) || err.Error() != want {
			t.Errorf("error %q, want %q", err, want)
		}
		o.MaxStale = 0
		u.Update(o)
		after(1000 * time.Hour)
		dial(t, u)
	})
}

func TestMaxConnectionsCountsThoseBeingDialled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		o := Options{Resolver: newFakeResolver(instances(2)...), Dial: n.Dial, MaxConnections: 3}
		u := start(t, o)
		first := dial(t, u)
		dial(t, u)
		n.fail("n1", blackhole)
		n.fail("n2", blackhole)
		failed := make(chan error)
		go func() { _, err := u.Dial(t.Context()); failed <- err }()
		synctest.Wait()
		if _, err := u.Dial(t.Context()); !errors.Is(err, ErrLimit) || err.Error() != "dialling db: connection limit reached (3)" {
			t.Errorf("the fourth: %v", err)
		}
		if err := <-failed; errors.Is(err, ErrLimit) {
			t.Errorf("the third: %v", err)
		}
		n.fail("n1", nil)
		n.fail("n2", nil)
		dial(t, u)
		first.Release()
		first.Release()
		dial(t, u)
		if _, err := u.Dial(t.Context()); !errors.Is(err, ErrLimit) {
			t.Errorf("a connection released twice counts twice: %v", err)
		}
		o.MaxConnections = 4
		u.Update(o)
		dial(t, u)
	})
}

// Behaviour 20.
func TestTheDestinationsTimeoutHoldsWhereTheUpstreamHasNone(t *testing.T) {
	for _, c := range []struct {
		name           string
		own, set, want time.Duration
	}{
		{"neither", 0, 0, DefaultConnectTimeout},
		{"the destination's", 0, 12 * time.Second, 12 * time.Second},
		{"the upstream's", 700 * time.Millisecond, 12 * time.Second, 700 * time.Millisecond},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNetwork()
				n.fail("n1", blackhole)
				r := newFakeResolver()
				r.give(Set{Endpoints: instances(1), ConnectTimeout: c.set})
				u := start(t, Options{Resolver: r, Dial: n.Dial, ConnectTimeout: c.own})
				after(0)
				began := time.Now()
				if _, err := u.Dial(t.Context()); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("got %v", err)
				}
				if took := time.Since(began); took != c.want {
					t.Errorf("it took %s, want %s", took, c.want)
				}
			})
		})
	}
}

// lateResolver knows its set once the first connection has had it asked for.
type lateResolver struct{ *fakeResolver }

func (r lateResolver) Use(context.Context) bool {
	r.give(Set{Endpoints: instances(1), ConnectTimeout: 1500 * time.Millisecond})
	return true
}

func TestTheFirstConnectionHasTheTimeoutThatItsDestinationTurnsOutToHave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		n.fail("n1", blackhole)
		u := start(t, Options{Resolver: lateResolver{newFakeResolver()}, Dial: n.Dial})
		began := time.Now()
		if _, err := u.Dial(t.Context()); err == nil || time.Since(began) != 1500*time.Millisecond {
			t.Errorf("failed after %s: %v", time.Since(began), err)
		}
	})
}

// silentResolver knows its set, and has it confirmed by an agent that says nothing.
type silentResolver struct{ *fakeResolver }

func (silentResolver) Use(ctx context.Context) bool {
	<-ctx.Done()
	return true
}

func TestAConnectionSoonAfterOneThatWasGivenUpWaitsNoLongerForTheAgent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := start(t, Options{Resolver: silentResolver{newFakeResolver(instances(1)...)}, ConnectTimeout: 8 * time.Second})
		gone, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if _, err := u.Dial(gone); err == nil {
			t.Error("a client that has gone has a connection")
		}
		began := time.Now()
		c, err := u.Dial(t.Context())
		if took := time.Since(began); err != nil || took != maxConfirm {
			t.Fatalf("after %s: %v", took, err)
		}
		c.Release()
	})
}

func TestADialThatReturnsNeitherAConnectionNorAnErrorHasFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nothing := func(context.Context, Endpoint) (net.Conn, error) { return nil, nil }
		u := start(t, Options{Resolver: newFakeResolver(instances(1)...), Dial: nothing})
		if c, err := u.Dial(t.Context()); !errors.Is(err, errNoConn) {
			t.Errorf("got %v, %v", c, err)
		}
	})
}
