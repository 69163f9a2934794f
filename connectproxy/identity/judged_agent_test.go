package identity_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"connect-proxy/connectproxy/agenttest"
	"connect-proxy/connectproxy/authorize"
	"connect-proxy/connectproxy/identity"
	"connect-proxy/listener"
	"connect-proxy/listener/listenertest"
)

func TestOnARealAgentADenialEndsTheConnectionsOfTheCallerAndItsResumedSessions(t *testing.T) {
	agenttest.SkipShort(t)
	agenttest.Both(t, agenttest.Options{}, func(t *testing.T, agent *agenttest.Agent) {
		web := identity.Ready(t, identity.Running(t, identity.Options{Client: agent.Client, Service: "web"}))
		api := identity.Ready(t, identity.Running(t, identity.Options{Client: agent.Client, Service: "MixedCase"}))
		here := identity.Serve(t, "web", web.Handshake(identity.ServerTLS{}))
		visited := func() listener.Session {
			t.Helper()
			if _, err := identity.Visit(t, api, here); err != nil {
				t.Fatal(err)
			}
			return here.Session()
		}
		s := visited()
		if want := api.Status(); s.Peer != want.SpiffeID || s.Serial != want.LeafSerial {
			t.Errorf("session of %s, %s; want %s, %s", s.Peer, s.Serial, want.SpiffeID, want.LeafSerial)
		}
		live := listenertest.NewPeers[listener.Reason](s.Peer)
		a := judging(t, authorize.Options{Client: agent.Client, Service: "web"}, live)
		if err := a.Authorize(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		listenertest.Eventually(t, "the intentions are watched", func() bool { return !a.Status().Unwatched })
		for _, step := range []struct{ source, action string }{
			{"MixedCase", "deny"}, {"MixedCase", "allow"}, {"*", "deny"},
		} {
			agent.Intention(step.source, "web", step.action)
			began, late := time.Now(), listenertest.Lateness(t)
			if step.action == "deny" && step.source == "MixedCase" {
				listenertest.Eventually(t, "the connection ends for the denial", func() bool { return slices.Contains(live.Closed(), s.Peer+" intention_revoked") })
				if took, most := time.Since(began), 2*time.Second+late(); took > most {
					t.Errorf("the connection ended after %s, which must not take longer than %s", took, most)
				}
			}
			want := step.source == "MixedCase" && step.action == "deny"
			listenertest.Eventually(t, "the caller is judged by the intention", func() bool {
				s := visited()
				return s.Resumed && denied(a.Authorize(t.Context(), s)) == want
			})
		}
		agent.DeleteIntention("MixedCase", "web") // what is left denies everybody
		listenertest.Eventually(t, "everybody is denied", func() bool { return denied(a.Authorize(t.Context(), visited())) })
	})
}

func TestOnARealAgentAnAuthorizerNamesThePermissionThatIsMissing(t *testing.T) {
	agenttest.SkipShort(t)
	agenttest.Both(t, agenttest.Options{ACL: true}, func(t *testing.T, agent *agenttest.Agent) {
		nobody := agent.PutToken(`service "other" { policy = "write" }`)
		a := judging(t, authorize.Options{Client: agent.ClientWithToken(nobody), Service: "web"})
		s := listener.Session{SessionInfo: listener.SessionInfo{Peer: "spiffe://mesh.consul/ns/default/dc/dc1/svc/api"}}
		err := a.Authorize(t.Context(), s)
		if err == nil || denied(err) || !strings.Contains(err.Error(), `service:write on "web"`) {
			t.Errorf("authorize: %v", err)
		}
		listenertest.Eventually(t, "the permission is named", func() bool {
			return strings.Contains(a.Status().Intentions.Error, `intentions:read on "web"`)
		})
	})
}
