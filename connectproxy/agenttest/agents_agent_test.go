package agenttest_test

import (
	"testing"

	"github.com/hashicorp/consul/api"

	"connect-proxy/connectproxy/agenttest"
)

func TestAnAgentStartsAndKnowsARegisteredService(t *testing.T) {
	agenttest.SkipShort(t)
	agenttest.Both(t, agenttest.Options{}, func(t *testing.T, a *agenttest.Agent) {
		t.Logf("ready after %s", a.Started)
		a.Register(&api.AgentServiceRegistration{Name: "Web", Port: 8080})
		if a.ManagesProxies() {
			return
		}
	})
}

func TestAnAgentKeepsItsStateOverARestart(t *testing.T) {
	agenttest.SkipShort(t)
	o := agenttest.Options{Persist: true, ACL: true}
	agenttest.Both(t, o, func(t *testing.T, a *agenttest.Agent) {
		t.Logf("ready after %s", a.Started)
		a.Intention("web", "db", "allow")
		a.Intention("web", "db", "deny")
		token := a.PutToken(`service "web" { policy = "write" }`)
		a.Stop()
		a.Start()
		t.Logf("ready again after %s", a.Started)
		_, _, err := a.ClientWithToken(token).ACL().TokenReadSelf(nil)
		if err != nil {
			t.Fatal(err)
		}
		allowed, _, err := a.Client.Connect().IntentionCheck(&api.IntentionCheck{
			Source: "web", Destination: "db", SourceType: api.IntentionSourceConsul}, nil)
		if err != nil || allowed {
			t.Fatalf("allowed %v, %v", allowed, err)
		}
	})
}
