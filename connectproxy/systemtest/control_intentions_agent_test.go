package systemtest_test

import (
	"crypto/tls"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"connect-proxy/connectproxy/agenttest"
	"connect-proxy/connectproxy/agenttest/traffic"
	"connect-proxy/listener/listenertest"
)

// crowd is ten open connections each of callers a and b.
type crowd struct {
	t    *testing.T
	n    *node
	by   map[string]*caller
	open map[string][]*client
}

func newCrowd(t *testing.T, a *agenttest.Agent, n *node) *crowd {
	t.Helper()
	c := &crowd{t: t, n: n, by: map[string]*caller{}, open: map[string][]*client{}}
	for _, name := range []string{"a", "b"} {
		c.by[name] = newCaller(t, a, name)
		c.fill(name)
	}
	return c
}

func (c *crowd) fill(name string) {
	c.t.Helper()
	c.open[name] = c.by[name].holds(10, c.n.port, c.n.name)
}

// loses waits until all connections of one caller have ended, which must be so
// within that time, while those of the other carry on; and new ones likewise.
func (c *crowd) loses(name, other string, within time.Duration, what string) {
	c.t.Helper()
	began, late := time.Now(), listenertest.Lateness(c.t)
	for _, one := range c.open[name] {
		one.ended(soon)
	}
	took := time.Since(began)
	c.t.Logf("%s: the connections of %s ended within %s", what, name, took.Round(time.Millisecond))
	if most := within + late(); took > most {
		c.t.Errorf("%s: the connections of %s ended after %s, which must not take longer than %s", what, name, took, most)
	}
	for range 3 {
		for _, one := range c.open[other] {
			one.wants(c.n.name)
		}
		if _, err := c.by[name].call(c.n.port, c.n.name); err == nil {
			c.t.Errorf("%s: %s gets a new connection", what, name)
		}
		if _, err := c.by[other].call(c.n.port, c.n.name); err != nil {
			c.t.Errorf("%s: %s gets none: %v", what, other, err)
		}
	}
}

// entry writes the service-intentions entry of a destination.
func entry(t *testing.T, a *agenttest.Agent, destination string, sources ...*api.SourceIntention) {
	t.Helper()
	_, _, err := a.Client.ConfigEntries().Set(&api.ServiceIntentionsConfigEntry{
		Kind: api.ServiceIntentions, Name: destination, Sources: sources,
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
}

func from(name string, action api.IntentionAction) *api.SourceIntention {
	return &api.SourceIntention{Name: name, Action: action}
}

// alone is a node without an upstream.
func alone(t *testing.T, a *agenttest.Agent, name, token string, config map[string]any) *node {
	t.Helper()
	n := &node{app: app(t, name)}
	n.sidecar = sidecar{name: name, app: portOf(n.app), port: agenttest.FreePort(t), config: config}
	n.register(a)
	n.proxy = runProxyAt(t, "http://"+a.HTTPAddr, token, "-sidecar-for", name).ready()
	return n
}

func TestADenialByAConfigurationEntryEndsTheConnectionsOfItsCallerAlone(t *testing.T) {
	agenttest.SkipShort(t)
	parallel(t)
	a := agenttest.Modern(t, agenttest.Options{})
	db := alone(t, a, "db", "", nil)
	c := newCrowd(t, a, db)
	resuming := map[uint16]*caller{}
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		r := newCaller(t, a, "a")
		r.version, r.sessions = version, tls.NewLRUClientSessionCache(1)
		for range 2 {
			if _, err := r.call(db.port, "db"); err != nil {
				t.Fatal(err)
			}
		}
		if !r.resumed {
			t.Errorf("%s: no resumption", tls.VersionName(version))
		}
		resuming[version] = r
	}

	entry(t, a, "db", from("a", "deny"))
	c.loses("a", "b", 2*time.Second, "exact")
	for version, r := range resuming {
		if _, err := r.call(db.port, "db"); err == nil {
			t.Errorf("%s: a resumed session is served", tls.VersionName(version))
		}
	}

	entry(t, a, "db", from("b", "allow"))
	c.fill("a")
	entry(t, a, "db", from("b", "allow"), from("*", "deny"))
	c.loses("a", "b", 2*time.Second, "wildcard source")

	entry(t, a, "db", from("b", "allow"))
	c.fill("a")
	entry(t, a, "*", from("*", "deny"))
	c.loses("a", "b", 2*time.Second, "wildcard on both sides")

	// What a caller may do is decided by its requests, which a TCP proxy does
	// not look into.
	entry(t, a, "*", from("*", "allow"))
	c.fill("a")
	_, _, err := a.Client.ConfigEntries().Set(&api.ServiceConfigEntry{Kind: api.ServiceDefaults, Name: "db", Protocol: "http"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	entry(t, a, "db", from("b", "allow"), &api.SourceIntention{Name: "a", Permissions: []*api.IntentionPermission{
		{Action: "allow", HTTP: &api.IntentionHTTPPermission{PathPrefix: "/"}},
	}})
	c.loses("a", "b", 2*time.Second, "HTTP permissions")
	db.proxy.WaitOutput(soon, "Matched L7 intention")
	db.proxy.ready()
}

func TestAnotherDefaultPolicyEndsTheConnectionsThatRestedOnTheOldOne(t *testing.T) {
	agenttest.SkipShort(t)
	parallel(t)
	a := agenttest.Modern(t, agenttest.Options{ACL: true, Persist: true, HCL: []string{defaultPolicy("allow")}})
	db := alone(t, a, "db", a.Token, nil)
	c := newCrowd(t, a, db)
	a.Intention("b", "db", "allow")
	a.Stop()
	if err := os.WriteFile(filepath.Join(a.ConfigDir, "01-test.hcl"), []byte(defaultPolicy("deny")), 0o600); err != nil {
		t.Fatal(err)
	}
	a.Start()
	c.loses("a", "b", effect, "default policy")
}

// Real agents judge callers for no token that may not read the intentions: the
// case is made up, by refusing what only the proxy asks.
func TestADenialIsSeenWithinTenSecondsWhereIntentionsMayNotBeRead(t *testing.T) {
	agenttest.SkipShort(t)
	parallel(t)
	a := agenttest.Modern(t, agenttest.Options{})
	d := newDoor(t, a)
	d.Fail(traffic.IntentionsMatch, traffic.Fault{Status: 403, Body: "Permission denied"})
	n := &node{app: app(t, "db")}
	n.sidecar = sidecar{name: "db", app: portOf(n.app), port: agenttest.FreePort(t)}
	n.register(a)
	n.proxy = runProxyAt(t, d.url, "", "-sidecar-for", "db").ready()
	c := newCrowd(t, a, n)
	a.Intention("a", "db", "deny")
	c.loses("a", "b", 10*time.Second, "intentions not readable")
	n.proxy.WaitOutput(soon, `the token needs intentions:read on \"db\"`)
}

func defaultPolicy(policy string) string { return fmt.Sprintf("acl { default_policy = %q }", policy) }
