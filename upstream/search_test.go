package upstream

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
)

// However many instances refuse, the one that works is found while there is
// time.
func TestTimeEndsASearchAndNotACount(t *testing.T) {
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
