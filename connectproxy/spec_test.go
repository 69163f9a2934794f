package connectproxy

import (
	"crypto/tls"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"connect-proxy/config"
	"connect-proxy/connectproxy/authorize"
	"connect-proxy/listener"
	"connect-proxy/upstream"
)

func TestEverySettingOfAListenerReachesIt(t *testing.T) {
	c := config.Config{
		Service: "web", Namespace: "team", Partition: "blue",
		MaxStaleAuthorization: 11 * time.Minute,
		MaxStaleEndpoints:     12 * time.Minute,
		Public: &config.Public{
			Bind:                tcp("0.0.0.0", 20000),
			Local:               config.Address{Path: "/run/web.sock"},
			LocalConnectTimeout: 1 * time.Second,
			HandshakeTimeout:    2 * time.Second,
			MaxConnections:      3,
			MinTLS:              tls.VersionTLS13,
			Limits:              config.Limits{IdleTimeout: 4, MaxLifetime: 5, HalfCloseTimeout: 6},
		},
		Upstreams: []config.Upstream{{
			Destination:    config.Destination{Type: config.PreparedQuery, Name: "near", Datacenter: "dc2"},
			Bind:           tcp("127.0.0.1", 8181),
			ConnectTimeout: 7 * time.Second,
			Balance:        config.Ordered,
			MaxConnections: 8,
			PassiveHealth:  config.PassiveHealth{Given: true, MaxFailures: 9, BaseEjectionTime: 10 * time.Second, MaxEjectionPercent: 40, Disabled: true},
			Limits:         config.Limits{IdleTimeout: 11, MaxLifetime: 12, HalfCloseTimeout: 13},
		}},
	}
	p := translate(&c)
	id := IdentityOptions{Service: "web", Namespace: "team", Partition: "blue"}
	if want := []namedIdentity{{serviceIdentity, id}}; !slices.Equal(p.identities, want) {
		t.Errorf("identities %v", p.identities)
	}
	if p.authorizer.MaxStale != 11*time.Minute {
		t.Errorf("authorizer %v", p.authorizer)
	}
	if len(p.specs) != 2 {
		t.Fatalf("%d listeners", len(p.specs))
	}
	for i, want := range []listener.Options{
		{
			Name: "public", HandshakeTimeout: 2 * time.Second, DialTimeout: time.Second, MaxConnections: 3,
			IdleTimeout: 4, MaxLifetime: 5, HalfCloseTimeout: 6,
		},
		{
			Name: "near.query.dc.dc2", DialTimeout: 7 * time.Second,
			IdleTimeout: 11, MaxLifetime: 12, HalfCloseTimeout: 13,
		},
	} {
		if d := cmp.Diff(want, p.specs[i].listenerOptions()); d != "" {
			t.Errorf("listener %d: -want +got:\n%s", i, d)
		}
	}
	want := upstream.Options{
		Name: "near.query.dc.dc2", ConnectTimeout: 7 * time.Second, Balance: "ordered", MaxConnections: 8,
		MaxFailures: 9, SetAside: 10 * time.Second, MaxSetAside: 5 * time.Minute, MaxSetAsidePercent: 40, NeverSetAside: true, MaxStale: 12 * time.Minute,
	}
	if d := cmp.Diff(want, p.specs[1].upstreamOptions()); d != "" {
		t.Errorf("upstream: -want +got:\n%s", d)
	}
	if got := []string{p.specs[0].to(), p.specs[1].to()}; got[0] != "unix:/run/web.sock" || got[1] != "near.query.dc.dc2" {
		t.Errorf("to %v", got)
	}
}

func TestOnlyThePublicPortWaitsForALeaf(t *testing.T) {
	p := translate(&config.Config{
		Service:   "web",
		Public:    &config.Public{Bind: tcp("", 20000)},
		Upstreams: []config.Upstream{{Destination: config.Destination{Name: "a"}, Bind: tcp("127.0.0.1", 1)}},
	})
	valid := func(v bool) func(string) bool { return func(string) bool { return v } }
	if got := keysOf(p.openable(valid(false))); len(got) != 1 || got[0].role != roleUpstream {
		t.Errorf("without a leaf: %v", got)
	}
	if got := p.openable(valid(true)); len(got) != 2 {
		t.Errorf("with a leaf: %v", keysOf(got))
	}
}

func TestConnectionsCarryOnWhereTheConfigurationStillLeads(t *testing.T) {
	up := func(name string, port int) config.Upstream {
		return config.Upstream{Destination: config.Destination{Name: name}, Bind: tcp("127.0.0.1", port)}
	}
	old := translate(&config.Config{Public: &config.Public{Bind: tcp("", 20000)}, Upstreams: []config.Upstream{up("a", 1), up("b", 2)}})
	now := translate(&config.Config{Public: &config.Public{Bind: tcp("", 20001)}, Upstreams: []config.Upstream{up("a", 3)}})
	for i, want := range []bool{true, true, false} {
		if got := now.serves(old.specs[i]); got != want {
			t.Errorf("%s at %s: %v", old.specs[i].name, old.specs[i].bind, got)
		}
	}
	if none := translate(&config.Config{}); none.serves(old.specs[0]) {
		t.Error("a proxy without a public listener serves one")
	}
}

// The packages are used without a configuration too, so each has defaults of its
// own.
func TestDefaultsAndPoliciesOfTheConfigurationAreThoseOfWhatItConfigures(t *testing.T) {
	for name, d := range map[string][2]any{
		"handshake timeout":          {config.DefaultHandshakeTimeout, listener.DefaultHandshakeTimeout},
		"dial of the application":    {config.DefaultLocalConnectTimeout, listener.DefaultDialTimeout},
		"failures in a row":          {config.DefaultMaxFailures, upstream.DefaultMaxFailures},
		"time that one is set aside": {config.DefaultBaseEjectionTime, upstream.DefaultSetAside},
		"age of a decision":          {config.DefaultMaxStaleAuthorization, authorize.DefaultMaxStale},
		"balance policy":             {string(config.DefaultBalance), upstream.LeastConnections},
		"round robin":                {string(config.RoundRobin), upstream.RoundRobin},
		"random":                     {string(config.Random), upstream.Random},
		"ordered":                    {string(config.Ordered), upstream.Ordered},
	} {
		if d[0] != d[1] {
			t.Errorf("%s: %v in the configuration, %v in the package", name, d[0], d[1])
		}
	}
}
