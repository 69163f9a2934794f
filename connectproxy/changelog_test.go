package connectproxy

import (
	"strings"
	"testing"

	"connect-proxy/connectproxy/agenttest"
	"connect-proxy/connectproxy/agenttest/fakeagent"
	"connect-proxy/listener/listenertest"
)

func TestASettingThatGuardsAndIsNotHonouredIsAnErrorInTheLogOnce(t *testing.T) {
	t.Parallel()
	agent := fakeagent.New(t, fakeagent.Options{})
	port := agenttest.FreePort(t)
	c := serving("db", port, listenertest.NewEcho(t).Addr())
	const opens, harmless = "envoy_public_listener_json is ignored, and it decides who may pass", "max_pending_requests is ignored"
	c.SecurityWarnings, c.Warnings = []string{opens}, []string{harmless}
	e := startEngine(t, agent, c).ready()
	e.apply(c)
	for line, want := range map[string]int{
		`[ERROR] setting that guards is not honoured: reason="` + opens: 1,
		`[WARN]  setting is not honoured: reason="` + harmless:          1,
		"[ERROR]": 1, "[WARN]": 1,
	} {
		if n := strings.Count(e.log.String(), line); n != want {
			t.Errorf("%d times, want %d: %s\n%s", n, want, line, e.log)
		}
	}
}
