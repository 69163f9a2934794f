package upstream

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"connect-proxy/upstream/loglimit"
)

func TestTheOneInstanceOfTwoHundredThatWorksIsFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const all = 200
		n := newNetwork()
		for i := range all - 1 {
			n.fail(fmt.Sprintf("n%d", i+1), refuse)
		}
		u := start(t, Options{Resolver: newFakeResolver(instances(all)...), Dial: n.Dial})
		c := dial(t, u)
		if want := fmt.Sprintf("n%d", all); c.Endpoint.ID != want {
			t.Errorf("connected to %s, want %s", c.Endpoint.ID, want)
		}
		c.Release()
	})
}

// Of thousands that fail together one connection tries some, the log has some lines,
// and those that come next go on with the others until they find the one that works.
func TestThousandsOfInstancesThatRefuseCostOneConnectionLittle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const all = 5000
		var log bytes.Buffer
		n := newNetwork()
		for i := range all {
			n.fail(fmt.Sprintf("n%d", i+1), refuse)
		}
		u := start(t, Options{Resolver: newFakeResolver(instances(all)...), Dial: n.Dial, SetAside: time.Hour, MaxSetAside: time.Hour,
			Logger: hclog.New(&hclog.LoggerOptions{Output: &log, Level: hclog.Info, Mutex: &sync.Mutex{}})})
		tried := func() int {
			t.Helper()
			_, err := u.Dial(t.Context())
			var failed *DialError
			if !errors.As(err, &failed) || failed.Untried != all-len(failed.Attempts) {
				t.Fatalf("%v", err)
			}
			if want := fmt.Sprintf("; %d were not tried", failed.Untried); !strings.HasSuffix(err.Error(), want) {
				t.Errorf("%q does not say %q", err, want)
			}
			return len(failed.Attempts)
		}
		for i := range all / mostTries {
			if got := tried(); got != mostTries {
				t.Fatalf("connection %d tried %d instances, want %d", i, got, mostTries)
			}
		}
		tried() // what is left of them
		after(time.Second)
		if got := tried(); got != mostLastResorts {
			t.Errorf("with all set aside %d are tried, want %d", got, mostLastResorts)
		}
		if lines := strings.Count(log.String(), "instance set aside"); lines != loglimit.Lines {
			t.Errorf("%d lines, want %d:\n%s", lines, loglimit.Lines, &log)
		}
		n.fail("n7", nil)
		after(2 * time.Hour) // the first probe of each, the one that works among them
		for range all/mostTries + 1 {
			if c, err := u.Dial(t.Context()); err == nil {
				c.Release()
			}
		}
		if s := u.Status().Instances[6]; !s.SetAside.IsZero() || s.Err != nil {
			t.Errorf("the instance that works is not in use: %+v", s)
		}
		if lines := strings.Count(log.String(), "suppressed="); lines == 0 {
			t.Errorf("what was left out is not told:\n%s", &log)
		}
	})
}

func TestManyInstancesAreLookedAtTogetherAndNoneIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		for i := range manyInstances / 2 {
			n.fail(fmt.Sprintf("n%d", i+1), refuse)
		}
		u := start(t, Options{Resolver: newFakeResolver(instances(manyInstances)...), Dial: n.Dial, Balance: RoundRobin, SetAside: time.Minute})
		held(t, u, 1)
		first := u.picker.Load()
		held(t, u, manyInstances)
		if p := u.picker.Load(); p != first {
			t.Error("all are looked at for a failure")
		}
		after(time.Duration(makePause))
		held(t, u, 1)
		if p := u.picker.Load(); len(p.usable) != manyInstances/2 {
			t.Errorf("%d instances are in use after a moment, want %d", len(p.usable), manyInstances/2)
		}
	})
}

// An instance that refuses a connection after it had taken it is tried once for
// it, and what all have said is in the error.
func TestEachInstanceIsTriedOnceForAConnectionThatIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		u := start(t, Options{Resolver: newFakeResolver(instances(3)...), Dial: n.Dial})
		c := dial(t, u)
		seen := map[string]bool{c.Endpoint.ID: true}
		refusal := fmt.Errorf("%w: no", ErrDenied)
		for range 2 {
			next, err := c.Next(t.Context(), refusal)
			if err != nil || seen[next.Endpoint.ID] {
				t.Fatalf("%v after %v: %v", next, seen, err)
			}
			seen[next.Endpoint.ID] = true
			c = next
		}
		_, err := c.Next(t.Context(), refusal)
		var all *DialError
		if !errors.As(err, &all) || len(all.Attempts) != 3 || !errors.Is(err, ErrDenied) {
			t.Fatalf("%v", err)
		}
		if s := u.Status(); s.Live != 0 {
			t.Errorf("%d connections are counted", s.Live)
		}
	})
}
