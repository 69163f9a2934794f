package micro

import (
	"flag"
	"testing"

	"connect-proxy/connectproxy/agenttest/gomicro"
)

func TestGoMicroClientsCallServicesOfAllReleases(t *testing.T) {
	m := &mesh{services: map[string]string{}}
	for release := range gomicro.Releases {
		m.services["greeter-"+release] = gomicro.Serve(t, release, "greeter-"+release).Address
	}
	p := start(t, m)
	for release := range gomicro.Releases {
		t.Run(release, func(t *testing.T) {
			c := gomicro.Client(t, release, p.address())
			for _, kind := range []string{"unary", "proto", "bidi", "server-stream", "client-stream"} {
				o := gomicro.Order{Kind: kind, Calls: 30, Services: []string{"greeter-v5", "greeter-v4", "greeter-v2"}}
				o.Request.Name, o.Request.Messages = kind, 50
				if got := c.Do(o); got.OK != 30 {
					t.Errorf("%s: %+v", kind, got)
				}
			}
		})
	}
}

var whole = flag.Bool("whole", false, "make 100,000 calls one after another, and 10,000 to two services in turn")

// docs/micro.md has what the whole of it gave.
func TestCallsAreNeitherLostNorMixedUp(t *testing.T) {
	m := &mesh{services: map[string]string{"one": gomicro.Serve(t, "v5", "one").Address, "two": gomicro.Serve(t, "v5", "two").Address}}
	p := start(t, m)
	c := gomicro.Client(t, "v5", p.address())
	orders := []gomicro.Order{
		{Services: []string{"one"}, Calls: 2000},
		{Services: []string{"one", "two"}, Calls: 500},
		{Services: []string{"one", "two"}, Calls: 100, Parallel: 8},
	}
	if *whole {
		orders[0].Calls, orders[1].Calls, orders[2].Calls = 100_000, 10_000, 2000
	}
	for _, o := range orders {
		o.Kind = "unary" // and with the client's own retries: a server of Micro may lose a call by itself
		got := c.Do(o)
		t.Logf("%v, %d calls by %d: %+v", o.Services, o.Calls, max(o.Parallel, 1), got)
		if got.OK != o.Calls*max(o.Parallel, 1) {
			t.Errorf("%+v: %+v", o, got)
		}
	}
}
