package dynamic

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"connect-proxy/config"
	"connect-proxy/listener"
	"connect-proxy/listener/secure"
)

// fakeUpstream is a destination whose agent and instances a test makes up.
type fakeUpstream struct {
	answered  chan struct{}
	instances atomic.Int32
	closed    atomic.Int32
	dial      listener.DialFunc
}

func (f *fakeUpstream) Answered() <-chan struct{} { return f.answered }
func (f *fakeUpstream) Instances() int            { return int(f.instances.Load()) }
func (f *fakeUpstream) Close()                    { f.closed.Add(1) }

func (f *fakeUpstream) Dial(ctx context.Context) (listener.Target, error) {
	if f.dial != nil {
		return f.dial(ctx)
	}
	near, far := net.Pipe()
	_ = far.Close()
	return listener.Target{Conn: near, Release: func() {}, Answered: func() {}, Failed: func(error) {}}, nil
}

// mesh is an agent: it knows the destinations whose names begin with "a".
type mesh struct {
	mu     sync.Mutex
	opened map[string][]*fakeUpstream
	asked  int
	// silent has it answer nothing, and slow only after that time.
	silent bool
	slow   time.Duration
}

func (m *mesh) open(d config.Destination) (Upstream, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f := &fakeUpstream{answered: make(chan struct{})}
	if d.Name[0] == 'a' {
		f.instances.Store(1)
	}
	if m.opened == nil {
		m.opened = map[string][]*fakeUpstream{}
	}
	m.opened[d.Name] = append(m.opened[d.Name], f)
	m.asked++
	if !m.silent {
		time.AfterFunc(m.slow, func() { close(f.answered) })
	}
	return f, nil
}

func (m *mesh) of(name string) []*fakeUpstream {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.opened[name]
}

func service(name string) config.Destination {
	return config.Destination{Type: config.Service, Name: name}
}

// connect opens a connection that the test must release.
func connect(t *testing.T, u *Upstreams, name string) listener.Target {
	t.Helper()
	target, err := u.Target(t.Context(), service(name))
	if err != nil {
		t.Fatal(err)
	}
	return target
}

func end(target listener.Target) {
	_ = target.Conn.Close()
	target.Release()
}

func TestADestinationIsOpenedOnceHoweverManyAskAtTheSameTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &mesh{slow: time.Second}
		u := New(m.open)
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() { end(connect(t, u, "a")) })
		}
		all.Wait()
		if n := len(m.of("a")); n != 1 {
			t.Errorf("opened %d times", n)
		}
		if l := u.List(); len(l) != 1 || l[0].Users != 0 {
			t.Errorf("kept: %+v", l)
		}
	})
}

func TestADestinationStaysTenMinutesAfterItsLastConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &mesh{}
		u := New(m.open)
		target := connect(t, u, "a")
		pass(time.Hour)
		u.CloseIdle(time.Now())
		end(target)
		pass(IdleTime - time.Second)
		u.CloseIdle(time.Now())
		if !u.Keeps(service("a")) {
			t.Error("closed before its time")
		}
		pass(time.Second)
		u.CloseIdle(time.Now())
		if u.Keeps(service("a")) || m.of("a")[0].closed.Load() != 1 {
			t.Error("not closed when its time was over")
		}
	})
}

func TestTheDestinationThatWasNotUsedForLongestGivesWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &mesh{}
		u := New(m.open)
		busy := connect(t, u, "a-busy")
		for i := range MaxUpstreams - 1 {
			pass(time.Millisecond)
			end(connect(t, u, fmt.Sprint("a", i)))
		}
		pass(time.Millisecond)
		end(connect(t, u, "a0")) // used again
		pass(time.Millisecond)
		end(connect(t, u, "a-new"))
		if !u.Keeps(service("a-busy")) || !u.Keeps(service("a0")) || !u.Keeps(service("a-new")) {
			t.Error("one in use has given way")
		}
		if u.Keeps(service("a1")) || m.of("a1")[0].closed.Load() != 1 {
			t.Error("the one that was not used for longest has not")
		}
		if n := len(u.List()); n != MaxUpstreams {
			t.Errorf("%d are kept", n)
		}
		end(busy)
	})
}

func TestWhereAllDestinationsHaveConnectionsAnotherIsRefusedWithItsReason(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &mesh{}
		u := New(m.open)
		var open []listener.Target
		for i := range MaxUpstreams {
			open = append(open, connect(t, u, fmt.Sprint("a", i)))
		}
		_, err := u.Target(t.Context(), service("a-more"))
		if !errors.Is(err, ErrFull) || listener.ReasonOf(err) != listener.ReasonLimit {
			t.Errorf("%v", err)
		}
		if got := m.of("a-more")[0].closed.Load(); got != 1 {
			t.Errorf("what was refused was closed %d times", got)
		}
		end(open[0])
		open[0] = connect(t, u, "a-more")
		for _, target := range open {
			end(target)
		}
	})
}

func TestANameThatNobodyHasIsRefusedAndNotAskedForAgainSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &mesh{}
		u := New(m.open)
		for range 5 {
			_, err := u.Target(t.Context(), service("nobody"))
			if !errors.Is(err, ErrUnknown) || listener.ReasonOf(err) != listener.ReasonNoEndpoints {
				t.Fatalf("%v", err)
			}
		}
		if n := len(m.of("nobody")); n != 1 {
			t.Errorf("asked for %d times", n)
		}
		if l := u.List(); len(l) != 0 {
			t.Errorf("kept: %+v", l)
		}
		pass(RememberAbsent)
		_, _ = u.Target(t.Context(), service("nobody"))
		if n := len(m.of("nobody")); n != 2 {
			t.Errorf("asked for %d times when its time was over", n)
		}
		for _, f := range m.of("nobody") {
			if f.closed.Load() != 1 {
				t.Error("left open")
			}
		}
	})
}

func TestANameIsRefusedWithinTwoSecondsWhileTheAgentIsSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &mesh{silent: true}
		u := New(m.open)
		var all sync.WaitGroup
		start := time.Now()
		for i := range 5 * maxProbes {
			all.Go(func() {
				_, err := u.Target(t.Context(), service(fmt.Sprint("a", i)))
				if took := time.Since(start); err == nil || took > 2*time.Second || listener.ReasonOf(err) != listener.ReasonNoEndpoints {
					t.Errorf("after %s: %v", took, err)
				}
			})
		}
		synctest.Wait()
		m.mu.Lock()
		if m.asked > maxProbes {
			t.Errorf("%d names are asked about at a time", m.asked)
		}
		m.mu.Unlock()
		all.Wait()
		if len(u.entries) != 0 || len(u.probing) != 0 {
			t.Errorf("left: %d entries, %d tokens", len(u.entries), len(u.probing))
		}
	})
}

func TestTenThousandNamesNeitherFillTheMemoryNorAskTheAgentWithoutBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &mesh{slow: time.Millisecond}
		u := New(m.open)
		kept := connect(t, u, "a")
		start := time.Now()
		for i := range 10_000 {
			_, err := u.Target(t.Context(), service(fmt.Sprint("x", i)))
			if r := listener.ReasonOf(err); r != listener.ReasonNoEndpoints && r != listener.ReasonLimit {
				t.Fatalf("%v", err)
			}
			pass(time.Millisecond)
		}
		if most := absentBurst + absentRate*int(time.Since(start)/time.Second+1) + 1; m.asked > most {
			t.Errorf("the agent was asked about %d names, want %d at most", m.asked, most)
		}
		if n := len(u.absent); n > absentBurst+absentRate*4 {
			t.Errorf("%d names are remembered", n)
		}
		if len(u.entries) != 1 || len(u.probing) != 0 {
			t.Errorf("left: %d entries, %d tokens", len(u.entries), len(u.probing))
		}
		end(kept)
		end(connect(t, u, "a")) // which is known, and not held up
	})
}

func TestAResetOpensDestinationsAnewAndLeavesConnectionsAlone(t *testing.T) {
	m := &mesh{}
	u := New(m.open)
	target := connect(t, u, "a")
	u.Reset()
	if n := m.of("a")[0].closed.Load(); n != 0 {
		t.Error("closed under its connection")
	}
	end(connect(t, u, "a"))
	if n := len(m.of("a")); n != 2 {
		t.Errorf("opened %d times", n)
	}
	end(target)
	if n := m.of("a")[0].closed.Load(); n != 1 {
		t.Errorf("closed %d times after its last connection", n)
	}
	u.Close()
	if _, err := u.Target(t.Context(), service("a")); !errors.Is(err, ErrClosed) {
		t.Errorf("after the end: %v", err)
	}
	if n := m.of("a")[1].closed.Load(); n != 1 {
		t.Errorf("the other was closed %d times", n)
	}
}

// A change of the configuration resets all destinations; who asked for one at that
// moment must not be told that the proxy is about to end.
func TestAResetCostsAFirstConnectionThatIsOnItsWayNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &mesh{silent: true}
		u := New(m.open)
		dialled := make(chan error, 1)
		go func() {
			target, err := u.Target(t.Context(), service("a"))
			if err == nil {
				end(target)
			}
			dialled <- err
		}()
		synctest.Wait()
		m.mu.Lock()
		m.silent = false
		m.mu.Unlock()
		u.Reset()
		if err := <-dialled; err != nil {
			t.Errorf("%v", err)
		}
		if n := len(m.of("a")); n != 2 {
			t.Errorf("opened %d times, want once before the reset and once after", n)
		}
		if n := m.of("a")[0].closed.Load(); n != 1 {
			t.Errorf("the first was closed %d times", n)
		}
		if len(u.entries) != 1 || len(u.probing) != 0 {
			t.Errorf("left: %d entries, %d tokens", len(u.entries), len(u.probing))
		}
	})
}

func TestTheEndOfEverythingEndsAFirstConnectionAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &mesh{silent: true}
		u := New(m.open)
		dialled := make(chan error, 1)
		go func() {
			_, err := u.Target(t.Context(), service("a"))
			dialled <- err
		}()
		synctest.Wait()
		start := time.Now()
		u.Close()
		if err := <-dialled; !errors.Is(err, ErrClosed) || time.Since(start) > 0 {
			t.Errorf("after %s: %v", time.Since(start), err)
		}
	})
}

func TestAFailedDialAndAFailedSearchForAnotherInstanceEndTheUse(t *testing.T) {
	m := &mesh{}
	u := New(m.open)
	end(connect(t, u, "a"))
	f := m.of("a")[0]
	f.dial = func(context.Context) (listener.Target, error) { return listener.Target{}, errors.New("down") }
	if _, err := u.Target(t.Context(), service("a")); err == nil {
		t.Fatal("no error")
	}
	f.dial = func(context.Context) (listener.Target, error) {
		return listener.Target{Next: func(context.Context, secure.Refusal, error) (listener.Target, error) {
			return listener.Target{}, errors.New("none left")
		}}, nil
	}
	target := connect(t, u, "a")
	if n := u.List()[0].Users; n != 1 {
		t.Errorf("%d users while there is a connection", n)
	}
	if _, err := target.Next(t.Context(), secure.RefusedService, errors.New("refused")); err == nil {
		t.Fatal("no error")
	}
	if n := u.List()[0].Users; n != 0 {
		t.Errorf("%d users after the last connection", n)
	}
}

// pass lets the time of a bubble go on.
func pass(d time.Duration) { <-time.After(d) }
