package catalog

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"connect-proxy/upstream"
)

const (
	healthOfArchive = "/v1/health/connect/archive"
	names           = "/v1/catalog/services"
)

// away is an agent of dc1 with a chain that leads to dc2 through gateways.
func away(t *testing.T) (*agent, setup) {
	t.Helper()
	a, client := newAgent(t)
	archive := strings.ReplaceAll(recorded(t, "1.15.4-health-far"), `"db`, `"archive`)
	a.answer("/v1/discovery-chain/away", reply{body: recorded(t, "1.15.4-chain-remote"), index: 7})
	a.answer(healthOfArchive+"?dc=dc2", reply{body: archive, index: 8})
	a.answer(names, reply{body: recorded(t, "1.15.4-gateway-names")})
	a.answer(names+"?dc=dc2&filter=ServiceKind == \"mesh-gateway\"", reply{body: `{"edge": []}`})
	a.answer("/v1/health/service/mesh-gateway", reply{body: recorded(t, "1.15.4-gateways")})
	a.answer("/v1/health/service/edge?dc=dc2", reply{body: recorded(t, "1.15.4-gateways-remote")})
	return a, setup{Client: client, Name: "away"}
}

func TestAGatewayLeadsToAnotherDatacenterEndToEnd(t *testing.T) {
	for _, c := range []struct{ mode, id, address string }{
		{"", "node-2/edge-1", "203.0.113.2:8444"}, // as the mesh has it
		{"remote", "node-2/edge-1", "203.0.113.2:8444"},
		{"local", "node-1/mesh-gateway", "127.0.0.1:9443"},
		{"none", "node-2/archive-9-sidecar-proxy", "203.0.113.9:32009"},
	} {
		t.Run("mode "+c.mode, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, o := away(t)
				o.MeshGateway = c.mode
				r := resolve(t, newChain(t, o))
				s := latest(t, r, 0)
				if len(s.Endpoints) != 1 || s.Endpoints[0].ID != c.id || s.Endpoints[0].Address != c.address {
					t.Fatalf("set %+v", s)
				}
				if ep := s.Endpoints[0]; ep.Identity != identity("archive", "dc2") || !strings.HasPrefix(ep.SNI, "archive.default.dc2.internal.") {
					t.Errorf("endpoint %+v: it is the service that must prove itself", ep)
				}
			})
		})
	}
}

func TestAGatewayLeadsToADatacenterWithoutAChainToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, o := away(t)
		o.Name, o.Datacenter, o.MeshGateway = "archive", "dc2", "local"
		o.LocalDatacenter = func(context.Context) string { return "dc1" }
		a.answer("/v1/discovery-chain/archive", reply{status: 403, body: "Permission denied"})
		r := resolve(t, newChain(t, o))
		if s := latest(t, r, 0); s.Endpoints[0].Address != "127.0.0.1:9443" || s.Endpoints[0].Identity != identity("archive", "dc2") || s.Endpoints[0].SNI != "" {
			t.Errorf("set %+v", s)
		}
		o.Datacenter = "dc1"
		a.answer(healthOfArchive, reply{body: recorded(t, "1.15.4-health"), index: 8})
		near := resolve(t, newChain(t, o))
		if s := latest(t, near, 0); len(s.Endpoints) != 3 {
			t.Errorf("set %+v: nothing leads through a gateway within a datacenter", s)
		}
	})
}

func TestWithoutAGatewayTheReasonIsSaid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, o := away(t)
		a.answer(names+"?dc=dc2&filter=ServiceKind == \"mesh-gateway\"", reply{body: "{}"})
		u := start(t, resolve(t, newChain(t, o)))
		after(0)
		_, err := u.Dial(t.Context())
		if !errors.Is(err, upstream.ErrNoEndpoints) || !strings.Contains(err.Error(), "no mesh gateway on the way is healthy") {
			t.Errorf("got %v", err)
		}
		a.answer(names+"?dc=dc2&filter=ServiceKind == \"mesh-gateway\"", reply{body: `{"edge": []}`})
		after(2 * DefaultChainPoll)
		if c := dial(t, u); c.Endpoint.ID != "node-2/edge-1" {
			t.Errorf("dialled %+v", c.Endpoint)
		}
		a.answer(healthOfArchive+"?dc=dc2", reply{body: "[]", index: 9})
		after(2 * usePace)
		if _, err := u.Dial(t.Context()); err == nil {
			t.Error("a gateway was dialled that leads to nothing")
		}
	})
}

func TestAnAgentThatDoesNotFilterByKindIsAskedByName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, o := away(t)
		o.MeshGateway = "local"
		a.answer(names, reply{body: `{"consul": [], "web": [], "mesh-gateway": []}`})
		r := resolve(t, newChain(t, o))
		if s := latest(t, r, 0); s.Endpoints[0].Address != "127.0.0.1:9443" {
			t.Errorf("set %+v", s)
		}
		// A service of that name need not be one.
		a.answer("/v1/health/service/mesh-gateway", reply{body: recorded(t, "1.15.4-health")})
		if s := latest(t, r, 2*DefaultChainPoll); len(s.Endpoints) != 0 {
			t.Errorf("set %+v", s)
		}
	})
}

func TestGatewaysSurviveTheAgentsErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, o := away(t)
		r := resolve(t, newChain(t, o))
		latest(t, r, 0)
		a.answer("/v1/health/service/edge?dc=dc2", reply{status: 500, body: "No path to datacenter"})
		if s := latest(t, r, time.Minute); len(s.Endpoints) != 1 || r.Status().Err == nil {
			t.Errorf("set %+v, status %+v", s, r.Status())
		}
	})
}
