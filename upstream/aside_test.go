package upstream

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
)

func TestAnInstanceIsSetAsideForLongerEachTimeAndGetsOneProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		n.fail("n1", refuse)
		u := start(t, Options{Resolver: newFakeResolver(instances(2)...), Dial: n.Dial, Balance: RoundRobin, SetAside: 2 * time.Second})
		want := 2 * time.Second
		for range 8 {
			held(t, u, 20)
			if got := n.count("n1"); got != 1 {
				t.Fatalf("dialled %d times, want one probe", got)
			}
			until := time.Until(u.Status().Instances[0].SetAside)
			if until < want*3/4 || until > want*5/4 {
				t.Errorf("set aside for %s, want about %s", until, want)
			}
			after(until - time.Millisecond)
			held(t, u, 20)
			if got := n.count("n1"); got != 0 {
				t.Errorf("dialled %d times while set aside", got)
			}
			after(2 * time.Millisecond)
			want = min(2*want, DefaultMaxSetAside)
		}
		n.fail("n1", nil)
		if got := held(t, u, 20)["n1"]; got < 8 {
			t.Errorf("%d of 20 connections after it was mended, want half", got)
		}
		if n := u.Status().SetAside; len(n) != 1 || n["error"] != 8 {
			t.Errorf("set aside %v", n)
		}
		if s := u.Status().Instances[0]; !s.SetAside.IsZero() || s.Err != nil || s.Failures != 0 {
			t.Errorf("a success left %+v", s)
		}
		n.fail("n1", refuse)
		held(t, u, 4)
		if until := time.Until(u.Status().Instances[0].SetAside); until > 2500*time.Millisecond {
			t.Errorf("set aside for %s after a success, want the first time again", until)
		}
	})
}

func TestOnlyOneConnectionAtATimeProbes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		n.fail("n1", refuse)
		u := start(t, Options{Resolver: newFakeResolver(instances(2)...), Dial: n.Dial, Balance: RoundRobin})
		held(t, u, 2)
		after(2 * time.Second)
		n.count("n1")
		n.fail("n1", blackhole)
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() { dial(t, u) })
		}
		wg.Wait()
		if got := n.count("n1"); got != 1 {
			t.Errorf("%d probes at a time", got)
		}
	})
}

func TestFailuresOfOneMomentAreOnePieceOfNews(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		n.fail("n1", blackhole)
		u := start(t, Options{Resolver: newFakeResolver(instances(1)...), Dial: n.Dial, ConnectTimeout: time.Second})
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				if _, err := u.Dial(t.Context()); err == nil {
					t.Error("connected to a blackhole")
				}
			})
		}
		wg.Wait()
		if until := time.Until(u.Status().Instances[0].SetAside); until > 1250*time.Millisecond {
			t.Errorf("a hundred failures at once set it aside for %s", until)
		}
	})
}

func TestWhenAllAreSetAsideTheyAreTriedAnyway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		n.fail("n1", refuse)
		n.fail("n2", refuse)
		n.fail("n3", refuse)
		u := start(t, Options{Resolver: newFakeResolver(instances(3)...), Dial: n.Dial, SetAside: time.Minute})
		if _, err := u.Dial(t.Context()); err == nil {
			t.Fatal("connected")
		}
		n.fail("n3", nil)
		c := dial(t, u)
		if c.Endpoint.ID != "n3" || !u.Status().Instances[2].SetAside.IsZero() {
			t.Errorf("connected to %s: %+v; want n3 back in use", c.Endpoint.ID, u.Status().Instances[2])
		}
		n.count("n1")
		held(t, u, 20)
		if n.count("n1") != 0 {
			t.Error("one that is set aside was dialled though another is not")
		}
	})
}

func TestMaxFailuresInARowSetAside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		u := start(t, Options{Resolver: newFakeResolver(instances(1)...), Dial: n.Dial, MaxFailures: 3})
		fail := func(times int) {
			n.fail("n1", refuse)
			for range times {
				if _, err := u.Dial(t.Context()); err == nil {
					t.Fatal("connected")
				}
			}
			n.fail("n1", nil)
		}
		fail(2)
		dial(t, u)
		fail(2)
		if s := u.Status().Instances[0]; !s.SetAside.IsZero() || s.Failures != 2 {
			t.Errorf("two failures, a success, two failures: %+v", s)
		}
		fail(1)
		if s := u.Status().Instances[0]; s.SetAside.IsZero() {
			t.Errorf("three failures in a row: %+v", s)
		}
	})
}

func TestAnInstanceThatMovedOrCameBackStartsAfresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		n.fail("n1", refuse)
		eps := instances(2)
		r := newFakeResolver(eps...)
		u := start(t, Options{Resolver: r, Dial: n.Dial, Balance: RoundRobin, SetAside: time.Minute})
		held(t, u, 4)
		r.give(Set{Endpoints: eps[1:]})
		synctest.Wait()
		if got := len(u.instances); got != 1 {
			t.Errorf("%d instances remembered, want 1", got)
		}
		r.give(Set{Endpoints: eps})
		synctest.Wait()
		if s := u.Status().Instances[0]; !s.SetAside.IsZero() {
			t.Errorf("came back as %+v", s)
		}
		held(t, u, 4)
		moved := append([]Endpoint(nil), eps...)
		moved[0].Address = "192.0.2.1:20001"
		r.give(Set{Endpoints: moved})
		synctest.Wait()
		if s := u.Status().Instances[0]; !s.SetAside.IsZero() {
			t.Errorf("moved as %+v", s)
		}
	})
}

func TestConnectionsOfAnInstanceThatFlapsStillCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		eps := instances(2)
		r := newFakeResolver(eps...)
		u := start(t, Options{Resolver: r})
		var conns []*Conn
		for range 40 {
			conns = append(conns, dial(t, u))
		}
		r.give(Set{Endpoints: eps[:1]})
		synctest.Wait()
		r.give(Set{Endpoints: eps})
		synctest.Wait()
		if got := u.Status().Instances[1].Live; got < 18 || got > 22 {
			t.Errorf("%d connections counted, want about 20", got)
		}
		for _, c := range conns {
			c.Release()
		}
		r.give(Set{})
		synctest.Wait()
		if got := len(u.instances); got != 0 {
			t.Errorf("%d instances remembered of an empty set", got)
		}
		if got := u.Status().Live; got != 0 {
			t.Errorf("%d connections counted after all ended", got)
		}
	})
}

func TestWhatIsWrongWithAnInstanceIsLoggedByName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b bytes.Buffer
		n := newNetwork()
		n.fail("n1", impostor)
		u := start(t, Options{Resolver: newFakeResolver(instances(1)...), Dial: n.Dial,
			Logger: hclog.New(&hclog.LoggerOptions{Output: &b, Level: hclog.Info, Mutex: &sync.Mutex{}})})
		synctest.Wait()
		for range 3 {
			if _, err := u.Dial(t.Context()); err == nil {
				t.Fatal("connected")
			}
		}
		n.fail("n1", nil)
		dial(t, u)
		lines := b.String()
		for _, want := range []string{"instance set aside: upstream=db instance=n1 address=192.0.2.1:20000 reason=identity error=\"wrong identity: want svc/db, got svc/web\" retry_in=", "instance works again: upstream=db instance=n1"} {
			if strings.Count(lines, want) != 1 {
				t.Errorf("log says %q %d times:\n%s", want, strings.Count(lines, want), lines)
			}
		}
	})
}

func TestAProbeThatItsClientAbandonsLeavesTheNextOneFree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		n.fail("n1", refuse)
		r := newFakeResolver()
		r.give(Set{Endpoints: instances(2), Ordered: true})
		u := start(t, Options{Resolver: r, Dial: n.Dial})
		dial(t, u)
		after(2 * time.Second)
		n.fail("n1", blackhole)
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		if _, err := u.Dial(ctx); err == nil {
			t.Fatal("connected")
		}
		n.fail("n1", nil)
		if c := dial(t, u); c.Endpoint.ID != "n1" {
			t.Errorf("connected to %s, want the probe of n1", c.Endpoint.ID)
		}
	})
}

func TestNoMoreInstancesAreSetAsideThanMayBe(t *testing.T) {
	for _, c := range []struct {
		name    string
		percent int
		never   bool
		want    int
	}{
		{"no bound", 0, false, 10},
		{"a third", 33, false, 3},
		{"a tenth", 10, false, 1},
		{"one in any case", 1, false, 1},
		{"all", 100, false, 10},
		{"none", 0, true, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				refused := func(context.Context, Endpoint) (net.Conn, error) { return nil, errors.New("refused") }
				u := start(t, Options{Resolver: newFakeResolver(instances(10)...), Dial: refused, SetAside: time.Minute,
					MaxSetAsidePercent: c.percent, NeverSetAside: c.never})
				for range 5 {
					if _, err := u.Dial(t.Context()); err == nil {
						t.Fatal("a dead instance was reached")
					}
				}
				aside := 0
				for _, in := range u.Status().Instances {
					if !in.SetAside.IsZero() {
						aside++
					}
				}
				if aside != c.want {
					t.Errorf("%d of 10 are set aside, want %d", aside, c.want)
				}
			})
		})
	}
}

func TestTheLongestTimeSetAsideIsAsTold(t *testing.T) {
	if d := longer(30*time.Second, 300*time.Second, 20); d < 225*time.Second || d > 375*time.Second {
		t.Errorf("set aside for %s the twentieth time, want about 300s", d)
	}
}

func TestAnInstanceIsNotBlamedWhereTheProxyHasNoFilesLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		none := func(context.Context) error {
			return &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("socket", syscall.EMFILE)}
		}
		n.fail("n1", none)
		n.fail("n2", none)
		u := start(t, Options{Resolver: newFakeResolver(instances(2)...), Dial: n.Dial, Balance: RoundRobin})
		for range 10 {
			_, err := u.Dial(t.Context())
			var failed *DialError
			if !errors.As(err, &failed) || len(failed.Attempts) != 1 || failed.Untried != 1 || !strings.Contains(err.Error(), "raise its limit") {
				t.Fatalf("%v", err)
			}
		}
		for _, s := range u.Status().Instances {
			if !s.SetAside.IsZero() || s.Failures != 0 {
				t.Errorf("%+v", s)
			}
		}
		n.fail("n1", nil)
		n.fail("n2", nil)
		if got := held(t, u, 10); got["n1"] == 0 || got["n2"] == 0 {
			t.Errorf("once there are files again: %v", got)
		}
	})
}
