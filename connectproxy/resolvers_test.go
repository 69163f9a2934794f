package connectproxy

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"connect-proxy/config"
	"connect-proxy/connectproxy/agenttest"
	"connect-proxy/connectproxy/agenttest/fakeagent"
	"connect-proxy/upstream"
)

// inventory is a resolver of the test's own.
type inventory struct {
	*upstream.Latest
	begun, ended atomic.Int32
}

func (i *inventory) Run(ctx context.Context) error {
	i.begun.Add(1)
	defer i.ended.Add(1)
	<-ctx.Done()
	return ctx.Err()
}

// dialledEndpoints is an identity that notes the addresses that it is to dial.
type dialledEndpoints struct {
	*pinnedIdentity
}

func (d dialledEndpoints) Dial(_ context.Context, ep upstream.Endpoint) (net.Conn, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.dialled = append(d.dialled, ep.Address)
	return nil, errors.New("nobody is called here")
}

func TestInstancesAreFoundByAResolverOfTheUsersOwn(t *testing.T) {
	t.Parallel()
	agent := fakeagent.New(t, fakeagent.Options{})
	found := &inventory{Latest: upstream.NewLatest("db")}
	as := dialledEndpoints{newPinned(agent.Certificate("web"))}
	ports := agenttest.FreePorts(t, 2)
	c := calling("web", to("db", ports), to("db", ports+1))
	for i := range c.Upstreams {
		c.Upstreams[i].Destination.Type = "inventory"
	}
	e := startEngine(t, agent, c, func(o *Options) {
		o.Identity = func(IdentityOptions) Identity { return as }
		o.Resolvers = map[config.DestinationType]func(config.Destination) Resolver{
			"inventory": func(d config.Destination) Resolver {
				if d.Name != "db" {
					t.Errorf("a resolver for %+v", d)
				}
				return found
			},
		}
	})
	for _, address := range []string{"127.0.0.1:1", "127.0.0.1:2"} {
		found.Found(upstream.Set{Endpoints: []upstream.Endpoint{{ID: address, Address: address}}})
		agenttest.Eventually(t, soon, func() error {
			knock(ports)
			knock(ports + 1)
			if got := as.calls(); !slices.Contains(got, address) {
				return errors.New(address + " was not dialled")
			}
			return nil
		})
	}
	if n := found.begun.Load(); n != 1 {
		t.Errorf("%d resolvers for one destination", n)
	}
	c.Upstreams = c.Upstreams[:1]
	e.apply(c)
	if found.ended.Load() != 0 {
		t.Error("the resolver has ended and is in use")
	}
	c.Upstreams[0].Destination = config.Destination{Name: "other"}
	e.apply(c)
	agenttest.Eventually(t, soon, func() error {
		if found.ended.Load() != 1 {
			return errors.New("the resolver goes on without a user")
		}
		return nil
	})
}

func TestADestinationOfATypeThatNobodyFindsIsNamedByReadiness(t *testing.T) {
	t.Parallel()
	agent := fakeagent.New(t, fakeagent.Options{})
	c := calling("web", to("db", agenttest.FreePort(t)))
	c.Upstreams[0].Destination.Type = "inventory"
	e := startEngine(t, agent, c)
	agenttest.Eventually(t, soon, func() error {
		if got := strings.Join(e.Status().Reasons, "; "); !strings.Contains(got, `nothing here finds destinations of type "inventory"`) {
			return errors.New(got)
		}
		return nil
	})
}

func TestAResolverThatIsMissingIsNamedByNew(t *testing.T) {
	t.Parallel()
	none := map[config.DestinationType]func(config.Destination) Resolver{"inventory": nil}
	if _, err := New(Options{Source: &config.Static{}, Resolvers: none}); err == nil || !strings.Contains(err.Error(), `"inventory"`) {
		t.Errorf("got %v", err)
	}
}
