package catalog

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/consul/api"
)

// large is an answer with many instances, of which the first has an address of its
// own.
func large(t *testing.T, first string) string {
	t.Helper()
	one := entries(t, "1.15.4-health")[0]
	var all []*api.ServiceEntry
	for i := range 100 {
		e, node, instance := *one, *one.Node, *one.Service
		node.Node, instance.Address = fmt.Sprintf("node-%02d", i), "192.0.2.1"
		if i == 0 {
			instance.Address = first
		}
		e.Node, e.Service = &node, &instance
		all = append(all, &e)
	}
	text, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestALargeAnswerIsAskedForWhereThereIsSomethingNew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, client := newAgent(t)
		r := resolve(t, newService(t, setup{Client: client, Name: "db", Warning: true}))
		probe := healthOfDB + "?filter=" + nothing
		set := func(first string, index uint64) {
			a.answer(probe, reply{body: "[]", index: index})
			a.answer(healthOfDB, reply{body: large(t, first), index: index})
		}
		whole := func() int { return len(a.requests(healthOfDB)) - a.asks(probe) }
		set("192.0.2.7", 11)
		if s := latest(t, r, time.Minute); len(s.Endpoints) != 100 {
			t.Fatalf("%d instances", len(s.Endpoints))
		}
		before, probed := whole(), a.asks(probe)
		after(10 * time.Minute)
		if n := whole() - before; n != 0 {
			t.Errorf("asked for %d times without anything new", n)
		}
		if n := a.asks(probe) - probed; n < 500 {
			t.Errorf("%d looks for something new in ten minutes", n)
		}
		if age := time.Since(r.Status().Fresh); age > 2*time.Second {
			t.Errorf("what is known is %s old", age)
		}
		for i := range 5 {
			first := fmt.Sprintf("192.0.2.%d", 100+i)
			set(first, uint64(12+i))
			s := latest(t, r, 1500*time.Millisecond)
			if got := s.Endpoints[0].Address; !strings.HasPrefix(got, first+":") {
				t.Errorf("change %d is not seen in time: %s", i+1, got)
			}
		}
		if n := whole() - before; n > 15 {
			t.Errorf("asked for %d times for 5 changes", n)
		}
		// An agent that does not take the filter is asked as one ever was.
		a.answer(probe, reply{status: http.StatusBadRequest})
		a.answer(healthOfDB, reply{body: large(t, "192.0.2.99"), index: 30})
		if s := latest(t, r, 1500*time.Millisecond); !strings.HasPrefix(s.Endpoints[0].Address, "192.0.2.99:") {
			t.Errorf("not seen in time: %s", s.Endpoints[0].Address)
		}
	})
}

// As where the question went to another server than the look before it, or where
// the agent's cache keeps the two apart.
func TestALargeAnswerThatIsBehindDoesNotStand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, client := newAgent(t)
		r := resolve(t, newService(t, setup{Client: client, Name: "db", Warning: true}))
		probe := healthOfDB + "?filter=" + nothing
		a.answer(probe, reply{body: "[]", index: 11})
		a.answer(healthOfDB, reply{body: large(t, "192.0.2.7"), index: 11})
		after(time.Minute)
		a.answer(probe, reply{body: "[]", index: 12})
		after(time.Minute)
		a.answer(healthOfDB, reply{body: large(t, "192.0.2.100"), index: 12})
		if s := latest(t, r, 1500*time.Millisecond); !strings.HasPrefix(s.Endpoints[0].Address, "192.0.2.100:") {
			t.Errorf("the change is not seen: %s", s.Endpoints[0].Address)
		}
	})
}

func TestAnInstanceOfALargeAnswerIsRememberedFromWhenItIsNotCalledHealthyAnyMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, client := newAgent(t)
		r := resolve(t, newService(t, setup{Client: client, Name: "db", Warning: true}))
		a.answer(healthOfDB+"?filter="+nothing, reply{body: "[]", index: 11})
		text := large(t, "192.0.2.7")
		a.answer(healthOfDB, reply{body: text, index: 11})
		after(10 * time.Minute)
		// The agent has restarted and has run no check yet.
		var all []*api.ServiceEntry
		if err := json.Unmarshal([]byte(text), &all); err != nil {
			t.Fatal(err)
		}
		for _, e := range all {
			e.Checks = api.HealthChecks{{Status: api.HealthCritical, Type: "tcp"}}
		}
		unchecked, err := json.Marshal(all)
		if err != nil {
			t.Fatal(err)
		}
		a.answer(healthOfDB+"?filter="+nothing, reply{body: "[]", index: 12})
		a.answer(healthOfDB, reply{body: string(unchecked), index: 12})
		if s := latest(t, r, 5*time.Second); len(s.Endpoints) != 100 {
			t.Errorf("%d instances soon after", len(s.Endpoints))
		}
		if s := latest(t, r, remember); len(s.Endpoints) != 0 {
			t.Errorf("%d instances long after", len(s.Endpoints))
		}
	})
}
