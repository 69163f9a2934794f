package systemtest_test

import (
	"fmt"
	"testing"

	"github.com/hashicorp/consul/api"

	"connect-proxy/connectproxy/agenttest"
)

// joined starts two datacenters, dc1 and dc2, that share a root.
func joined(t *testing.T) (one, two *agenttest.Agent) {
	t.Helper()
	one = agenttest.Modern(t, agenttest.Options{})
	two = agenttest.Modern(t, agenttest.Options{
		Datacenter: "dc2", NodeName: "node-2", HCL: []string{agenttest.JoinedTo(one)},
	})
	agenttest.Eventually(t, soon, func() error {
		first, _, err := one.Client.Agent().ConnectCARoots(nil)
		if err != nil {
			return err
		}
		second, _, err := two.Client.Agent().ConnectCARoots(nil)
		if err == nil && first.ActiveRootID != second.ActiveRootID {
			err = fmt.Errorf("the datacenters do not share a root yet")
		}
		if err == nil {
			_, _, err = one.Client.Health().Connect("any", "", true, &api.QueryOptions{Datacenter: "dc2"})
		}
		return err
	})
	return one, two
}

func TestUpstreamsInAnotherDatacenter(t *testing.T) {
	agenttest.SkipShort(t)
	parallel(t)
	one, two := joined(t)
	port := agenttest.FreePorts(t, 24)
	near := sidecar{name: "db", app: portOf(app(t, "near")), port: port}
	far := sidecar{name: "db", app: portOf(app(t, "far")), port: port + 1,
		// In its own datacenter's network it is nowhere to be found from here.
		address: "203.0.113.1", config: map[string]any{"bind_address": "127.0.0.1"},
		tagged: map[string]api.ServiceAddress{
			"lan": {Address: "203.0.113.1", Port: port + 1}, "wan": {Address: "127.0.0.1", Port: port + 1},
		}}
	near.start(t, one)
	far.start(t, two)
	one.PutQuery(api.PreparedQueryDefinition{Name: "db-anywhere", Service: api.ServiceQuery{
		Service: "db", Failover: api.QueryFailoverOptions{Datacenters: []string{"dc2"}},
	}})
	configure(t, one, &api.ServiceResolverConfigEntry{
		Kind: api.ServiceResolver, Name: "db", Failover: map[string]api.ServiceResolverFailover{"*": {Datacenters: []string{"dc2"}}},
	})
	for _, name := range []string{"away", "away-local", "away-remote"} {
		configure(t, one, &api.ServiceResolverConfigEntry{
			Kind: api.ServiceResolver, Name: name, Redirect: &api.ServiceResolverRedirect{Service: "db", Datacenter: "dc2"},
		})
	}

	// One gateway for mode "local", in dc1, and one for mode "remote", in dc2.
	local, remote := newSNIGateway(t), newSNIGateway(t)
	local.route("dc2", at(far.port))
	remote.route("dc2", at(far.port))
	local.register(one, "mesh-gateway", at(portOf(local.Server)), "203.0.113.2:443")
	remote.register(two, "edge", "203.0.113.3:443", at(portOf(remote.Server)))

	toDB, toAway, toFar, toQuery, toLocal, toRemote := port+4, port+5, port+6, port+7, port+8, port+9
	elsewhere := up("db", toFar)
	elsewhere.Datacenter = "dc2"
	byLocal, byRemote := up("away-local", toLocal), up("away-remote", toRemote)
	byLocal.MeshGateway.Mode, byRemote.MeshGateway.Mode = api.MeshGatewayModeLocal, api.MeshGatewayModeRemote
	web := sidecar{name: "web", app: 1, port: port + 3, upstreams: []api.Upstream{
		up("db", toDB), up("away", toAway), elsewhere, byLocal, byRemote,
		{DestinationType: api.UpstreamDestTypePreparedQuery, DestinationName: "db-anywhere", LocalBindPort: toQuery},
	}}
	one.WaitConnect("db", 1)
	two.WaitConnect("db", 1)
	p := web.start(t, one)

	t.Run("by name", func(t *testing.T) { reaches(t, at(toFar), "far") })
	t.Run("by a resolver's redirect", func(t *testing.T) { reaches(t, at(toAway), "far") })
	for mode, tc := range map[string]struct {
		port    int
		gateway *sniGateway
	}{"local": {toLocal, local}, "remote": {toRemote, remote}} {
		t.Run("through a mesh gateway, mode "+mode, func(t *testing.T) {
			reaches(t, at(tc.port), "far")
			roots, _, err := one.Client.Agent().ConnectCARoots(nil)
			if err != nil {
				t.Fatal(err)
			}
			if got, want := tc.gateway.last(), "db.default.dc2.internal."+roots.TrustDomain; got != want {
				t.Errorf("the gateway was asked for %q, want %q", got, want)
			}
		})
	}
	t.Run("a gateway that leads astray is found out", func(t *testing.T) {
		local.route("dc2", at(near.port))
		c := dial(t, at(toLocal))
		c.ended(soon)
		p.WaitOutput(soon, "/dc/dc2/svc/db, got spiffe://")
		if n := len(p.Output.Matching("reason=identity")); n == 0 {
			t.Error("the log does not say that it is the identity")
		}
		local.route("dc2", at(far.port))
		reaches(t, at(toLocal), "far")
	})
	t.Run("by failover, of a resolver and of a query", func(t *testing.T) {
		reaches(t, at(toDB), "near")
		reaches(t, at(toQuery), "near")
		maintain(t, one, near, true)
		reaches(t, at(toDB), "far")
		reaches(t, at(toQuery), "far")
		maintain(t, one, near, false)
		reaches(t, at(toDB), "near")
		reaches(t, at(toQuery), "near")
	})
}
