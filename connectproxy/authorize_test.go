package connectproxy

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
)

func TestAKnownCallerCostsNoRequest(t *testing.T) {
	judged(t, nil, func(t *testing.T, a *authorizer, agent *memAgent, _ *peers) {
		agent.set(func() { agent.allow["api"] = true })
		for range 1000 {
			if err := a.Authorize(t.Context(), caller("api")); err != nil {
				t.Fatal(err)
			}
			if err := a.Authorize(t.Context(), caller("stranger")); !denied(err) || !strings.Contains(err.Error(), "as the test says for stranger") {
				t.Fatalf("a stranger: %v", err)
			}
		}
		if n := agent.count("authorize"); n != 2 {
			t.Errorf("%d requests for two identities", n)
		}
	})
}

func TestCallersThatComeTogetherShareARequest(t *testing.T) {
	judged(t, nil, func(t *testing.T, a *authorizer, agent *memAgent, _ *peers) {
		agent.set(func() { agent.hold = time.Second })
		const identities, each = 50, 7
		var wg sync.WaitGroup
		for i := range identities {
			service := fmt.Sprintf("s%d", i)
			agent.set(func() { agent.allow[service] = i%2 == 0 })
			for range each {
				wg.Go(func() {
					if err := a.Authorize(t.Context(), caller(service)); (err == nil) != (i%2 == 0) {
						t.Errorf("%s: %v", service, err)
					}
				})
			}
		}
		wg.Wait()
		if n := agent.count("authorize"); n != identities {
			t.Errorf("%d requests, want %d", n, identities)
		}
		if agent.twice || agent.most > maxAsks {
			t.Errorf("%d at a time, one identity's together: %t", agent.most, agent.twice)
		}
	})
}

func TestADenialEndsTheOpenConnectionsOfThatCallerAlone(t *testing.T) {
	judged(t, []string{"api", "batch"}, func(t *testing.T, _ *authorizer, agent *memAgent, p *peers) {
		agent.change(func() {
			agent.allow["api"] = false
			agent.match = []*api.Intention{{SourceName: "api", DestinationName: "web", Action: "deny"}}
		})
		pass(2 * time.Second)
		if got := p.ends(); !slices.Equal(got, []string{meshHost + "api intention_revoked"}) {
			t.Errorf("ended %v", got)
		}
	})
}

func TestAnAnswerThatLagsBehindTheIntentionsIsCorrected(t *testing.T) {
	judged(t, []string{"api"}, func(t *testing.T, _ *authorizer, agent *memAgent, p *peers) {
		agent.change(func() { agent.match = []*api.Intention{{SourceName: "*", Action: "deny"}} })
		pass(100 * time.Millisecond)
		agent.set(func() { agent.allow["api"] = false }) // the agent's own cache learns of it only now
		pass(1900 * time.Millisecond)
		if len(p.ends()) != 1 {
			t.Error("the connection lives on")
		}
	})
}

func TestIntentionsOfOthersAskNothing(t *testing.T) {
	judged(t, []string{"api"}, func(t *testing.T, a *authorizer, agent *memAgent, _ *peers) {
		before := agent.count("authorize")
		for range 20 {
			agent.change(func() {})
			pass(time.Second)
		}
		if n := agent.count("authorize") - before; n > 1 { // one for its age
			t.Errorf("%d requests for nothing", n)
		}
	})
}

func TestAChangeOfTheDefaultPolicyIsSeenWithinAMinute(t *testing.T) {
	judged(t, []string{"api"}, func(t *testing.T, a *authorizer, agent *memAgent, p *peers) {
		agent.set(func() { agent.allow["api"] = false }) // and no intention says so
		pass(time.Minute)
		if len(p.ends()) != 1 {
			t.Error("the connection lives on")
		}
		if err := a.Authorize(t.Context(), caller("api")); !denied(err) {
			t.Errorf("a new one: %v", err)
		}
	})
}

func TestAFlappingIntentionKeepsRequestsBounded(t *testing.T) {
	judged(t, []string{"api"}, func(t *testing.T, _ *authorizer, agent *memAgent, _ *peers) {
		before := agent.count("authorize") + agent.count("match")
		const seconds = 20
		for i := range 10 * seconds {
			action := []api.IntentionAction{"allow", "deny"}[i%2]
			agent.change(func() { agent.match = []*api.Intention{{SourceName: "other", Action: action}} })
			pass(100 * time.Millisecond)
		}
		if n := agent.count("authorize") + agent.count("match") - before; n > 10*seconds {
			t.Errorf("%d requests in %d s", n, seconds)
		}
	})
}

func TestWithoutTheRightToReadIntentionsADenialTakesTenSeconds(t *testing.T) {
	judged(t, []string{"api"}, func(t *testing.T, a *authorizer, agent *memAgent, p *peers) {
		agent.change(func() { agent.fault["match"] = http.StatusForbidden })
		pass(30 * time.Second)
		if s := a.Status(); !s.Blind || !strings.Contains(s.Intentions.Error, `intentions:read on "web"`) {
			t.Errorf("status: %+v", s)
		}
		agent.set(func() { agent.allow["api"] = false })
		pass(10 * time.Second)
		if len(p.ends()) != 1 {
			t.Error("the connection lives on")
		}

		agent.set(func() { agent.allow["batch"] = true })
		if err := a.Authorize(t.Context(), caller("batch")); err != nil {
			t.Fatal(err)
		}
		agent.set(func() { agent.allow["batch"] = false })
		pass(5 * time.Second)
		if err := a.Authorize(t.Context(), caller("batch")); !denied(err) {
			t.Errorf("after 5 s: %v", err)
		}
	})
}

func TestWithTheAgentGoneCallersThatAreKnownPassForATime(t *testing.T) {
	for name, fault := range map[string]int{"connection refused": refuse, "an error": 500, "silence": never, "a token taken away": 403} {
		t.Run(name, func(t *testing.T) {
			judged(t, []string{"api"}, func(t *testing.T, a *authorizer, agent *memAgent, p *peers) {
				if err := a.Authorize(t.Context(), caller("api")); err != nil {
					t.Fatal(err)
				}
				agent.change(func() { agent.fault["match"], agent.fault["authorize"] = fault, fault })
				for range 9 {
					pass(time.Minute)
					ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
					if err := a.Authorize(ctx, caller("api")); err != nil {
						t.Fatalf("known: %v", err)
					}
					if err := a.Authorize(ctx, caller("stranger")); err == nil || denied(err) {
						t.Fatalf("unknown: %v", err)
					}
					cancel()
				}
				pass(2 * time.Minute)
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
				defer cancel()
				if err := a.Authorize(ctx, caller("api")); err == nil || denied(err) {
					t.Errorf("after more than ten minutes: %v", err)
				}
				if len(p.ends()) != 0 {
					t.Error("open connections were ended")
				}
				agent.change(func() { clear(agent.fault) })
				pass(15 * time.Second)
				if err := a.Authorize(t.Context(), caller("api")); err != nil {
					t.Errorf("with the agent back: %v", err)
				}
			})
		})
	}
}

func TestAnAgentThatHangsHoldsUpAKnownCallerOnce(t *testing.T) {
	judged(t, nil, func(t *testing.T, a *authorizer, agent *memAgent, _ *peers) {
		agent.set(func() { agent.allow["api"] = true })
		if err := a.Authorize(t.Context(), caller("api")); err != nil {
			t.Fatal(err)
		}
		agent.change(func() { agent.fault["authorize"] = never })
		pass(2 * time.Minute)
		start := time.Now()
		for range 100 {
			if err := a.Authorize(t.Context(), caller("api")); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(start); took > staleWait {
			t.Errorf("100 connections waited %s in all", took)
		}
	})
}

func TestAuthorizeNamesThePermissionThatIsMissing(t *testing.T) {
	judged(t, nil, func(t *testing.T, a *authorizer, agent *memAgent, _ *peers) {
		agent.change(func() { agent.fault["authorize"] = http.StatusForbidden })
		err := a.Authorize(t.Context(), caller("api"))
		if err == nil || !strings.Contains(err.Error(), `service:write on "web"`) {
			t.Errorf("got %v", err)
		}
	})
}

func TestTheIdentitiesRememberedAreBounded(t *testing.T) {
	judged(t, nil, func(t *testing.T, a *authorizer, agent *memAgent, _ *peers) {
		a.ask = func(context.Context, *api.AgentAuthorizeParams) (*api.AgentAuthorize, error) {
			return &api.AgentAuthorize{}, nil
		}
		for i := range maxIdentities + 100 {
			if err := a.Authorize(t.Context(), caller(fmt.Sprint("s", i))); !denied(err) {
				t.Fatal(err)
			}
		}
		if n := a.Status().Identities; n > maxIdentities {
			t.Errorf("%d identities", n)
		}
		pass(defaultMaxStale + time.Minute)
		if n := a.Status().Identities; n != 0 {
			t.Errorf("%d identities that nobody uses", n)
		}
	})
}
