package connectproxy

import (
	"fmt"
	"testing"

	"connect-proxy/config"
	"connect-proxy/connectproxy/agenttest"
	"connect-proxy/listener"
	"connect-proxy/listener/listenertest"
	"connect-proxy/upstream"
)

// resetting is a proxy with an upstream at port, whose instances are those that it
// has found. looked has the engine look at them.
type resetting struct {
	*engine
	port   int
	found  *inventory
	looked func()
}

func startResetting(t *testing.T, by config.ResetOnChange) resetting {
	t.Helper()
	found, port := &inventory{Latest: upstream.NewLatest("redis")}, agenttest.FreePort(t)
	c := reaching(config.Identity{}, port, "", "127.0.0.1:1")
	c.Identities = nil
	c.Upstreams[0].Destination = config.Destination{Type: "inventory", Name: "redis"}
	c.Upstreams[0].Identity, c.Upstreams[0].ResetOnChange = config.PlaintextIdentity, by
	e := startEngine(t, nil, c, func(o *Options) {
		o.Resolvers = map[config.DestinationType]func(config.Destination) Resolver{
			"inventory": func(config.Destination) Resolver { return found },
		}
	}).ready()
	return resetting{e, port, found, func() { e.apply(c) }}
}

// echoes are the instances of a destination, each with a weight.
func echoes(weight int, servers ...*listenertest.Server) (s upstream.Set) {
	for _, server := range servers {
		s.Endpoints = append(s.Endpoints, upstream.Endpoint{ID: server.Addr(), Address: server.Addr(), Weight: weight})
	}
	return s
}

func TestAChangeOfInstancesResetsTheConnectionsThatItIsToReset(t *testing.T) {
	t.Parallel()
	one, two, three := listenertest.NewEcho(t), listenertest.NewEcho(t), listenertest.NewEcho(t)
	for by, stays := range map[config.ResetOnChange]struct{ one, two bool }{
		config.ResetNone: {true, true}, config.ResetGone: {false, true}, config.ResetAll: {false, false},
	} {
		t.Run("reset_on_change = "+string(by), func(t *testing.T) {
			t.Parallel()
			e := startResetting(t, by)
			e.found.Found(echoes(1, one, two))
			toOne := dial(t, e.port)
			toOne.echo("the first")
			e.looked()
			e.found.Found(echoes(1, two))
			toTwo := dial(t, e.port) // younger than the change, and than no look at it
			toTwo.echo("the second")
			e.looked()
			if !stays.one {
				toOne.ends()
			}
			toTwo.echo("by the instances that there are")
			e.found.Found(echoes(1, two, three))
			e.looked() // before what is to stay is asked
			if stays.one {
				toOne.echo("still there")
			}
			if stays.two {
				toTwo.echo("still there")
			} else {
				toTwo.ends()
			}
			want := map[config.ResetOnChange]int{config.ResetGone: 1, config.ResetAll: 2}[by]
			agenttest.Eventually(t, soon, func() error {
				if n := e.count(listener.ReasonDestinationChanged); n != want {
					return fmt.Errorf("%d connections were reset, want %d", n, want)
				}
				return nil
			})
		})
	}
}

func TestAConnectionToAnInstanceThatCameAndWentBetweenTwoLooksIsReset(t *testing.T) {
	t.Parallel()
	one, two := listenertest.NewEcho(t), listenertest.NewEcho(t)
	e := startResetting(t, config.ResetGone)
	e.found.Found(echoes(1, one))
	dial(t, e.port).echo("the first")
	e.looked()
	for range 3 { // should the engine look in between once
		e.found.Found(echoes(1, two))
		toTwo := dial(t, e.port)
		toTwo.echo("the second")
		e.found.Found(echoes(1, one))
		e.looked()
		toTwo.ends()
	}
}

func TestWhatElseIsFoundOfTheSameInstancesResetsNoConnection(t *testing.T) {
	t.Parallel()
	one, two := listenertest.NewEcho(t), listenertest.NewEcho(t)
	e := startResetting(t, config.ResetAll)
	e.found.Found(echoes(1, one))
	toOne := dial(t, e.port)
	toOne.echo("the first")
	e.looked()
	for i := range 3 { // should the engine look in between once
		e.found.Found(echoes(1, [...]*listenertest.Server{two, one}[i%2]))
		c := dial(t, e.port)
		c.echo("by the newest")
		e.found.Found(echoes(2, [...]*listenertest.Server{two, one}[i%2]))
		e.looked()
		c.echo("still there")
	}
	toOne.ends()
}
