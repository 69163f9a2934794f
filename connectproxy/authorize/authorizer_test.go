package authorize

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"connect-proxy/connectproxy/agenttest/fakeagent"
	"connect-proxy/connectproxy/agenttest/traffic"
)

func TestAKnownCallerCostsNoRequest(t *testing.T) {
	judged(t, nil, func(t *testing.T, a *Authorizer, agent *fakeagent.Agent, _ *peers) {
		agent.Intention("api", "web", "allow")
		pass(time.Second) // the change is seen
		for n := range 1000 {
			from := OriginCache
			if n == 0 {
				from = OriginAgent
			}
			if origin, err := a.Judge(t.Context(), sessionOf("api")); err != nil || origin != from {
				t.Fatalf("from %s: %v", origin, err)
			}
			if err := a.Authorize(t.Context(), sessionOf("stranger")); !denied(err) || !strings.Contains(err.Error(), "Default behavior") {
				t.Fatalf("a stranger: %v", err)
			}
		}
		if n := agent.Requests(traffic.Authorize); n != 2 {
			t.Errorf("%d requests for two identities", n)
		}
	})
}

func TestCallersThatComeTogetherShareARequest(t *testing.T) {
	judged(t, nil, func(t *testing.T, a *Authorizer, agent *fakeagent.Agent, _ *peers) {
		agent.Fail(traffic.Authorize, traffic.Fault{Delay: time.Second})
		const identities, each = 50, 7
		var wg sync.WaitGroup
		for i := range identities {
			service := fmt.Sprintf("s%d", i)
			if i%2 == 0 {
				agent.Intention(service, "web", "allow")
			}
			for range each {
				wg.Go(func() {
					if err := a.Authorize(t.Context(), sessionOf(service)); (err == nil) != (i%2 == 0) {
						t.Errorf("%s: %v", service, err)
					}
				})
			}
		}
		wg.Wait()
		if n := agent.Counts(traffic.Authorize); n.Requests != identities || n.MostHeld > maxQueries {
			t.Errorf("%d requests, want %d; %d at a time", n.Requests, identities, n.MostHeld)
		}
	})
}

func TestADenialEndsTheOpenConnectionsOfThatCallerAlone(t *testing.T) {
	judged(t, []string{"api", "batch"}, func(t *testing.T, _ *Authorizer, agent *fakeagent.Agent, p *peers) {
		agent.Intention("api", "web", "deny")
		pass(2 * time.Second)
		if got := p.Closed(); !slices.Equal(got, []string{meshHost + "api intention_revoked"}) {
			t.Errorf("ended %v", got)
		}
	})
}

func TestAnAnswerThatLagsBehindTheIntentionsIsCorrected(t *testing.T) {
	judged(t, []string{"api"}, func(t *testing.T, _ *Authorizer, agent *fakeagent.Agent, p *peers) {
		agent.Fail(traffic.Authorize, judging(true))
		agent.Intention("api", "web", "deny")
		pass(100 * time.Millisecond)
		agent.Heal() // the agent's own cache learns of it only now
		pass(1900 * time.Millisecond)
		if len(p.Closed()) != 1 {
			t.Error("the connection lives on")
		}
	})
}

func TestIntentionsOfOthersAskNothing(t *testing.T) {
	judged(t, []string{"api"}, func(t *testing.T, a *Authorizer, agent *fakeagent.Agent, _ *peers) {
		before := agent.Requests(traffic.Authorize)
		for range 20 {
			agent.Intention("api", "other", "deny")
			pass(time.Second)
		}
		if n := agent.Requests(traffic.Authorize) - before; n > 1 { // one for its age
			t.Errorf("%d requests for nothing", n)
		}
	})
}

func TestAChangeOfTheDefaultPolicyIsSeenWithinAMinute(t *testing.T) {
	judged(t, []string{"api"}, func(t *testing.T, a *Authorizer, agent *fakeagent.Agent, p *peers) {
		agent.Fail(traffic.Authorize, judging(false)) // and no intention says so
		pass(time.Minute)
		if len(p.Closed()) != 1 {
			t.Error("the connection lives on")
		}
		if err := a.Authorize(t.Context(), sessionOf("api")); !denied(err) {
			t.Errorf("a new one: %v", err)
		}
	})
}

func TestAFlappingIntentionKeepsRequestsBounded(t *testing.T) {
	judged(t, []string{"api"}, func(t *testing.T, _ *Authorizer, agent *fakeagent.Agent, _ *peers) {
		before := agent.Requests(traffic.Authorize) + agent.Requests(traffic.IntentionsMatch)
		const seconds = 20
		for i := range 10 * seconds {
			agent.Intention("other", "web", []string{"allow", "deny"}[i%2])
			pass(100 * time.Millisecond)
		}
		if n := agent.Requests(traffic.Authorize) + agent.Requests(traffic.IntentionsMatch) - before; n > 10*seconds {
			t.Errorf("%d requests in %d s", n, seconds)
		}
	})
}

func TestWithoutTheRightToReadIntentionsADenialTakesTenSeconds(t *testing.T) {
	judged(t, []string{"api"}, func(t *testing.T, a *Authorizer, agent *fakeagent.Agent, p *peers) {
		fail(agent, traffic.Fault{Status: http.StatusForbidden}, traffic.IntentionsMatch)
		pass(30 * time.Second)
		if s := a.Status(); !s.Unwatched || !strings.Contains(s.Intentions.Error, `intentions:read on "web"`) {
			t.Errorf("status: %+v", s)
		}
		agent.Intention("api", "web", "deny")
		pass(10 * time.Second)
		if len(p.Closed()) != 1 {
			t.Error("the connection lives on")
		}

		agent.Intention("batch", "web", "allow")
		if err := a.Authorize(t.Context(), sessionOf("batch")); err != nil {
			t.Fatal(err)
		}
		agent.Intention("batch", "web", "deny")
		pass(5 * time.Second)
		if err := a.Authorize(t.Context(), sessionOf("batch")); !denied(err) {
			t.Errorf("after 5 s: %v", err)
		}
	})
}

func TestWithTheAgentGoneCallersThatAreKnownPassForATime(t *testing.T) {
	for name, fault := range map[string]traffic.Fault{
		"connection refused": {Cut: true}, "an error": {Status: 500}, "silence": {Hang: true}, "a token taken away": {Status: 403},
	} {
		t.Run(name, func(t *testing.T) {
			judged(t, []string{"api"}, func(t *testing.T, a *Authorizer, agent *fakeagent.Agent, p *peers) {
				if err := a.Authorize(t.Context(), sessionOf("api")); err != nil {
					t.Fatal(err)
				}
				fail(agent, fault, traffic.IntentionsMatch, traffic.Authorize)
				for range 9 {
					pass(time.Minute)
					ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
					if origin, err := a.Judge(ctx, sessionOf("api")); err != nil || origin != OriginStale {
						t.Fatalf("known, from %s: %v", origin, err)
					}
					if err := a.Authorize(ctx, sessionOf("stranger")); err == nil || denied(err) {
						t.Fatalf("unknown: %v", err)
					}
					cancel()
				}
				pass(2 * time.Minute)
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
				defer cancel()
				if err := a.Authorize(ctx, sessionOf("api")); err == nil || denied(err) {
					t.Errorf("after more than ten minutes: %v", err)
				}
				if len(p.Closed()) != 0 {
					t.Error("open connections were ended")
				}
				agent.Heal()
				pass(15 * time.Second)
				if err := a.Authorize(t.Context(), sessionOf("api")); err != nil {
					t.Errorf("with the agent back: %v", err)
				}
			})
		})
	}
}

func TestAnAgentThatHangsHoldsUpAKnownCallerOnce(t *testing.T) {
	judged(t, nil, func(t *testing.T, a *Authorizer, agent *fakeagent.Agent, _ *peers) {
		agent.Intention("api", "web", "allow")
		if err := a.Authorize(t.Context(), sessionOf("api")); err != nil {
			t.Fatal(err)
		}
		agent.Fail(traffic.Authorize, traffic.Fault{Hang: true})
		pass(2 * time.Minute)
		start := time.Now()
		for range 100 {
			if err := a.Authorize(t.Context(), sessionOf("api")); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(start); took > staleWait {
			t.Errorf("100 connections waited %s in all", took)
		}
	})
}

func TestAuthorizeNamesThePermissionThatIsMissing(t *testing.T) {
	judged(t, nil, func(t *testing.T, a *Authorizer, agent *fakeagent.Agent, _ *peers) {
		agent.Fail(traffic.Authorize, traffic.Fault{Status: http.StatusForbidden})
		err := a.Authorize(t.Context(), sessionOf("api"))
		if err == nil || !strings.Contains(err.Error(), `service:write on "web"`) {
			t.Errorf("got %v", err)
		}
	})
}

func TestTheIdentitiesRememberedAreBounded(t *testing.T) {
	judged(t, nil, func(t *testing.T, a *Authorizer, agent *fakeagent.Agent, _ *peers) {
		a.query = func(context.Context, *api.AgentAuthorizeParams) (*api.AgentAuthorize, error) {
			return &api.AgentAuthorize{}, nil
		}
		for i := range maxCallers + 100 {
			if err := a.Authorize(t.Context(), sessionOf(fmt.Sprint("s", i))); !denied(err) {
				t.Fatal(err)
			}
		}
		if n := a.Status().Identities; n > maxCallers {
			t.Errorf("%d identities", n)
		}
		pass(DefaultMaxStale + time.Minute)
		if n := a.Status().Identities; n != 0 {
			t.Errorf("%d identities that nobody uses", n)
		}
	})
}
