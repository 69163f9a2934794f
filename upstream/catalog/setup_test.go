package catalog

import (
	"context"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/go-hclog"

	"connect-proxy/listener/listenertest"
	"connect-proxy/upstream"
)

// setup is a Catalog's Options and a destination in one.
type setup struct {
	Client                                 *api.Client
	Logger                                 hclog.Logger
	LocalDatacenter                        func(context.Context) string
	Name, Namespace, Partition, Datacenter string
	// Filter and Warning are a service's, MeshGateway a chain's.
	Filter      string
	Warning     bool
	MeshGateway string
}

// catalog runs until the test ends.
func (s setup) catalog(t *testing.T) *Catalog {
	t.Helper()
	c := New(Options{Client: s.Client, LocalDatacenter: s.LocalDatacenter, Logger: s.Logger})
	t.Cleanup(func() { // once Run has returned
		if n := c.destinations.Load(); n != 0 {
			t.Errorf("%d destinations are still asked for", n)
		}
	})
	listenertest.Run(t, c.Run)
	return c
}

// resolver is what the tests need of one.
type resolver interface {
	Set() (upstream.Set, bool)
	Status() upstream.ResolverStatus
	Use(ctx context.Context) bool
	Close()
}

// newService is the resolver of a service alone, closed when the test ends.
func newService(t *testing.T, s setup) setWatch {
	t.Helper()
	c := s.catalog(t)
	r := c.watchService(question{
		service: s.Name, namespace: s.Namespace, partition: s.Partition, datacenter: s.Datacenter, filter: s.Filter, warning: s.Warning,
	}, &usage{c: c}, nil)
	t.Cleanup(r.Close)
	return r
}

func newChain(t *testing.T, s setup) Resolver {
	t.Helper()
	r := s.catalog(t).Chain(ChainOptions{
		Name: s.Name, Namespace: s.Namespace, Partition: s.Partition, Datacenter: s.Datacenter, MeshGateway: s.MeshGateway,
	})
	t.Cleanup(r.Close)
	return r
}

func newQuery(t *testing.T, s setup) Resolver {
	t.Helper()
	r := s.catalog(t).Query(QueryOptions{Name: s.Name, Namespace: s.Namespace, Partition: s.Partition, Datacenter: s.Datacenter})
	t.Cleanup(r.Close)
	return r
}

// resolve has a destination in use all the time until the test ends.
func resolve[R resolver](t *testing.T, r R) R {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	used := make(chan struct{})
	go func() {
		defer close(used)
		for ctx.Err() == nil {
			r.Use(ctx)
			select {
			case <-time.After(inUse / 2):
			case <-ctx.Done():
			}
		}
	}()
	t.Cleanup(func() { cancel(); <-used })
	return r
}

// conn is a connection that cannot do anything.
type conn struct{ net.Conn }

func (conn) Close() error { return nil }

// start makes an Upstream that reaches everything.
func start(t *testing.T, r upstream.Resolver) *upstream.Upstream {
	t.Helper()
	u, err := upstream.New(upstream.Options{
		Name: "db", Resolver: r,
		Dial: func(context.Context, upstream.Endpoint) (net.Conn, error) { return conn{}, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(u.Close)
	return u
}

// dial opens a connection and fails the test if it cannot.
func dial(t *testing.T, u *upstream.Upstream) *upstream.Conn {
	t.Helper()
	c, err := u.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// after lets d of the bubble's time pass and everything in it come to rest.
func after(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}
