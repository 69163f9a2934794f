package connectproxy

import (
	"net/http"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
)

// A real agent's own copy of the intentions is renewed some time after it can
// be again, and it judges by that copy.
func TestAnAgentThatRecoversAndLagsBehindIsAskedAgain(t *testing.T) {
	judged(t, []string{"api"}, func(t *testing.T, a *authorizer, agent *memAgent, p *peers) {
		agent.change(func() { agent.fault["match"] = http.StatusInternalServerError })
		pass(30 * time.Second)
		agent.change(func() {
			delete(agent.fault, "match")
			agent.match = []*api.Intention{{SourceName: "api", Action: api.IntentionActionDeny}}
		})
		pass(40 * time.Second)
		if len(p.ends()) != 0 {
			t.Fatal("the connection ended before the agent said so")
		}
		agent.set(func() { agent.allow["api"] = false })
		pass(10 * time.Second)
		if len(p.ends()) != 1 {
			t.Error("the connection lives on")
		}

		pass(3 * time.Minute)
		before := agent.count("authorize")
		pass(time.Minute)
		if n := agent.count("authorize") - before; n > 2 || a.Status().Blind {
			t.Errorf("%d questions in a minute, long after", n)
		}
	})
}
