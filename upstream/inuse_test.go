package upstream

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestItIsKnownSinceWhenConnectionsGoByTheirInstances(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ep := func(id string, weight int) Endpoint { return Endpoint{ID: id, Address: "10.0.0.1:1", Weight: weight} }
		r, n := newFakeResolver(), newNetwork()
		u, err := New(Options{Name: "db", Resolver: r, Dial: n.Dial})
		if err != nil {
			t.Fatal(err)
		}
		defer u.Close()
		r.give(Set{Endpoints: []Endpoint{ep("1", 1)}})
		if in, ok := u.InUse(); ok {
			t.Errorf("before the first connection: %+v", in)
		}
		held, err := u.Dial(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer held.Release()
		for _, step := range []struct {
			what string
			eps  []Endpoint
			want int
			new  bool
		}{
			{"another weight", []Endpoint{ep("1", 2)}, 1, false},
			{"another instance in its place", []Endpoint{ep("2", 1)}, 2, true},
			{"the first again, which has a connection", []Endpoint{ep("1", 1)}, 3, true},
			{"two of them", []Endpoint{ep("1", 1), ep("2", 1)}, 4, true},
			{"in another order", []Endpoint{ep("2", 1), ep("1", 1)}, 4, false},
			{"named twice", []Endpoint{ep("2", 1), ep("1", 1), ep("1", 2)}, 4, false},
			{"one", []Endpoint{ep("2", 1)}, 5, true},
			{"none", nil, 6, true},
		} {
			before, _ := u.InUse()
			<-time.After(time.Second)
			r.give(Set{Endpoints: step.eps})
			in, ok := u.InUse()
			if !ok || in.Changes != step.want || in.Since.Equal(before.Since) == step.new || len(in.Endpoints) != len(step.eps) {
				t.Errorf("%s: %+v, before %+v", step.what, in, before)
			}
			if step.new && !in.Since.Equal(time.Now()) {
				t.Errorf("%s: since %s, now is %s", step.what, in.Since, time.Now())
			}
		}
	})
}

// Two may tell of changes at the same time: what is in use is what is dialled.
func TestWhatIsInUseIsNotAheadOfWhatIsDialled(t *testing.T) {
	r, n := newFakeResolver(Endpoint{ID: "1", Address: "10.0.0.1:1"}), newNetwork()
	u, err := New(Options{Name: "db", Resolver: r, Dial: n.Dial})
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	if c, err := u.Dial(t.Context()); err != nil {
		t.Fatal(err)
	} else {
		c.Release()
	}
	r.mu.Lock()
	r.set = Set{Endpoints: []Endpoint{{ID: "2", Address: "10.0.0.1:2"}}} // and nobody has been told yet
	r.mu.Unlock()
	c, err := u.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Release()
	if in, _ := u.InUse(); in.Changes != 1 || in.Endpoints[0] != c.Endpoint {
		t.Errorf("%+v is in use, and %+v dialled", in, c.Endpoint)
	}
}
