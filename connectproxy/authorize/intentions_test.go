package authorize

import (
	"errors"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"connect-proxy/connectproxy/agenttest"
	"connect-proxy/connectproxy/agenttest/fakeagent"
)

func TestIntentionsAreSummedUpByWhatDecides(t *testing.T) {
	base := func() []*api.Intention {
		return []*api.Intention{
			{SourceName: "api", DestinationName: "web", Action: "allow", Precedence: 9},
			{SourceName: "*", DestinationName: "web", Action: "deny", Precedence: 8},
		}
	}
	was, err := summarize(base(), "deny")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func([]*api.Intention) string // returns the default policy
		differ bool
	}{
		"an index":         {func(l []*api.Intention) string { l[0].ModifyIndex++; return "deny" }, false},
		"a description":    {func(l []*api.Intention) string { l[0].Description = "x"; return "deny" }, false},
		"an action":        {func(l []*api.Intention) string { l[0].Action = "deny"; return "deny" }, true},
		"a source":         {func(l []*api.Intention) string { l[0].SourceName = "db"; return "deny" }, true},
		"the order":        {func(l []*api.Intention) string { l[0], l[1] = l[1], l[0]; return "deny" }, true},
		"a default policy": {func([]*api.Intention) string { return "allow" }, true},
		"a permission": {func(l []*api.Intention) string {
			l[0].Action, l[0].Permissions = "", []*api.IntentionPermission{{Action: "allow", HTTP: &api.IntentionHTTPPermission{PathPrefix: "/"}}}
			return "deny"
		}, true},
	} {
		list := base()
		policy := c.change(list)
		if is, err := summarize(list, policy); err != nil || (is != was) != c.differ {
			t.Errorf("%s: %v, %s", name, err, is)
		}
	}
}

func TestADenialIsSeenWithoutAnIndexToWaitOn(t *testing.T) {
	agent := fakeagent.New(t, fakeagent.Options{Managed: true})
	o := Options{Client: agent.Client(""), Service: "web"}
	a := New(o)
	done := make(chan struct{})
	go func() { defer close(done); _ = a.match.Run(t.Context()) }()
	t.Cleanup(func() { <-done })
	before, err := a.match.Wait(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	agent.Intention("api", "web", "deny")
	agenttest.Eventually(t, 10*time.Second, func() error {
		if now, _ := a.match.Latest(); now == before {
			return errors.New("the intentions are as they were")
		}
		return nil
	})
}
