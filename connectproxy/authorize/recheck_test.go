package authorize

import (
	"net/http"
	"testing"
	"time"

	"connect-proxy/connectproxy/agenttest/fakeagent"
	"connect-proxy/connectproxy/agenttest/traffic"
)

// A real agent's own copy of the intentions is renewed some time after it can
// be again, and it judges by that copy.
func TestAnAgentThatRecoversAndLagsBehindIsAskedAgain(t *testing.T) {
	judged(t, []string{"api"}, func(t *testing.T, a *Authorizer, agent *fakeagent.Agent, p *peers) {
		fail(agent, traffic.Fault{Status: http.StatusInternalServerError}, traffic.IntentionsMatch)
		pass(30 * time.Second)
		agent.Fail(traffic.Authorize, judging(true))
		agent.Intention("api", "web", "deny")
		agent.Heal(traffic.IntentionsMatch)
		pass(40 * time.Second)
		if len(p.Closed()) != 0 {
			t.Fatal("the connection ended before the agent said so")
		}
		agent.Heal()
		pass(10 * time.Second)
		if len(p.Closed()) != 1 {
			t.Error("the connection lives on")
		}

		pass(3 * time.Minute)
		before := agent.Requests(traffic.Authorize)
		pass(time.Minute)
		if n := agent.Requests(traffic.Authorize) - before; n > 2 || a.Status().Unwatched {
			t.Errorf("%d questions in a minute, long after", n)
		}
	})
}

// Their first state is one, too: a caller may have been judged before it was known.
func TestTheFirstIntentionsAreAChangeHoweverSoonTheyCome(t *testing.T) {
	for range 100 {
		judged(t, nil, func(t *testing.T, a *Authorizer, _ *fakeagent.Agent, _ *peers) {
			if got := a.generation.Load(); got != uint64(1+len(recheckDelays)) {
				t.Fatalf("decisions were asked for anew %d times", got)
			}
		})
	}
}

func TestNoChangeOfTheIntentionsIsMissed(t *testing.T) {
	judged(t, []string{"api"}, func(t *testing.T, a *Authorizer, agent *fakeagent.Agent, p *peers) {
		for n := range 50 {
			before := a.generation.Load()
			agent.Intention("other", "web", []string{"allow", "deny"}[n%2])
			pass(2 * time.Second)
			if got := a.generation.Load() - before; got != uint64(1+len(recheckDelays)) {
				t.Errorf("change %d: decisions were asked for anew %d times", n+1, got)
			}
		}
	})
}
