package connectproxy

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"connect-proxy/connectproxy/agenttest"
	"connect-proxy/listener"
)

// judging runs the authorizer of "web" on a real agent.
func judging(t *testing.T, agent *agenttest.Agent, live livePeers) *authorizer {
	t.Helper()
	a := newAuthorizer(authorizerOptions{Client: agent.Client, Service: "web"})
	a.Watch(live)
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = a.Run(ctx) })
	t.Cleanup(func() { cancel(); running.Wait() })
	return a
}

func TestOnARealAgentADenialEndsTheConnectionsOfTheCallerAndItsResumedSessions(t *testing.T) {
	agenttest.SkipShort(t)
	agenttest.Both(t, agenttest.Options{}, func(t *testing.T, agent *agenttest.Agent) {
		web := ready(t, running(t, identityOptions{Client: agent.Client, Service: "web"}))
		api := ready(t, running(t, identityOptions{Client: agent.Client, Service: "MixedCase"}))
		here := serve(t, "web", web.Handshake(serverTLS{}))
		visited := func() listener.Session {
			t.Helper()
			if _, err := visit(t, api, here); err != nil {
				t.Fatal(err)
			}
			return <-here.sessions
		}
		s := visited()
		if want := api.Status(); s.Peer != want.SpiffeID || s.Serial != want.LeafSerial {
			t.Errorf("session of %s, %s; want %s, %s", s.Peer, s.Serial, want.SpiffeID, want.LeafSerial)
		}
		live := &peers{open: []string{s.Peer}}
		a := judging(t, agent, live)
		if err := a.Authorize(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		eventually(t, func() bool { return !a.blind.Load() })
		for _, step := range []struct{ source, action string }{
			{"MixedCase", "deny"}, {"MixedCase", "allow"}, {"*", "deny"},
		} {
			agent.Intention(step.source, "web", step.action)
			began := time.Now()
			if step.action == "deny" && step.source == "MixedCase" {
				eventually(t, func() bool { return slices.Contains(live.ends(), s.Peer+" intention_revoked") })
				if took := time.Since(began); took > 2*time.Second {
					t.Errorf("the connection ended after %s", took)
				}
			}
			want := step.source == "MixedCase" && step.action == "deny"
			eventually(t, func() bool {
				s := visited()
				return s.Resumed && denied(a.Authorize(t.Context(), s)) == want
			})
		}
		agent.DeleteIntention("MixedCase", "web") // what is left denies everybody
		eventually(t, func() bool { return denied(a.Authorize(t.Context(), visited())) })
	})
}

// Agents of either version take up to half a minute to renew their leafs after
// a rotation.
func TestOnARealAgentTwoRotationsOfTheRootRefuseNobody(t *testing.T) {
	agenttest.SkipShort(t)
	t.Parallel()
	agenttest.Both(t, agenttest.Options{}, func(t *testing.T, agent *agenttest.Agent) {
		t.Parallel()
		ids := []*identity{
			ready(t, running(t, identityOptions{Client: agent.Client, Service: "web"})),
			ready(t, running(t, identityOptions{Client: agent.Client, Service: "api"})),
		}
		there := []*server{
			serve(t, "web", ids[0].Handshake(serverTLS{})), serve(t, "api", ids[1].Handshake(serverTLS{})),
		}
		stop := make(chan struct{})
		var traffic sync.WaitGroup
		connections := 0
		traffic.Go(func() {
			tick := time.NewTicker(5 * time.Millisecond)
			defer tick.Stop()
			for {
				select {
				case <-stop:
					return
				case <-tick.C:
				}
				for n, s := range there {
					if _, err := visit(t, ids[1-n], s); err != nil {
						t.Errorf("refused: %v", err)
						return
					}
					<-s.sessions
					connections++
				}
			}
		})
		for n := range 2 {
			before := []string{ids[0].Status().LeafSerial, ids[1].Status().LeafSerial}
			agent.RotateRoot()
			for k, i := range ids {
				waitFor(t, 45*time.Second, func() bool {
					s := i.Status()
					return s.LeafSerial != before[k] && len(s.Roots) == n+2
				})
			}
		}
		close(stop)
		traffic.Wait()
		t.Logf("%d connections over two rotations", connections)
	})
}

func TestOnARealAgentAMissingPermissionIsNamed(t *testing.T) {
	agenttest.SkipShort(t)
	agenttest.Both(t, agenttest.Options{ACL: true}, func(t *testing.T, agent *agenttest.Agent) {
		nobody := agent.PutToken(`service "other" { policy = "write" }`)
		i := running(t, identityOptions{Client: agent.ClientWithToken(nobody), Service: "web"})
		eventually(t, func() bool {
			return strings.Contains(i.Problem(), `service:write on "web"`)
		})
		a := newAuthorizer(authorizerOptions{Client: agent.ClientWithToken(nobody), Service: "web"})
		ctx, cancel := context.WithCancel(t.Context())
		var wait sync.WaitGroup
		wait.Go(func() { _ = a.Run(ctx) })
		defer wait.Wait()
		defer cancel()
		s := listener.Session{SessionInfo: listener.SessionInfo{Peer: "spiffe://mesh.consul/ns/default/dc/dc1/svc/api"}}
		err := a.Authorize(ctx, s)
		if err == nil || denied(err) || !strings.Contains(err.Error(), `service:write on "web"`) {
			t.Errorf("authorize: %v", err)
		}
		eventually(t, func() bool {
			return strings.Contains(a.Status().Intentions.Error, `intentions:read on "web"`)
		})
	})
}
