package connectproxy

import (
	"fmt"
	"strings"
	"testing"

	"connect-proxy/connectproxy/agenttest"
	"connect-proxy/connectproxy/agenttest/fakeagent"
)

// Of TLS's alerts there is none for an application that is down.
func TestTheSideThatDialsSaysThatTheApplicationIsDown(t *testing.T) {
	t.Parallel()
	agent := fakeagent.New(t, fakeagent.Options{})
	port := agenttest.FreePorts(t, 3)
	agent.Instance("db", port)
	c := serving("db", port, at(port+1)) // where nobody listens
	c.Upstreams = append(c.Upstreams, to("db", port+2))
	e := startEngine(t, agent, c).ready()
	conn := dial(t, port+2)
	if _, err := conn.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	const want = "reason=upstream_unavailable"
	agenttest.Eventually(t, soon, func() error {
		if !strings.Contains(e.log.String(), want) {
			return fmt.Errorf("the log has no %q", want)
		}
		return nil
	})
	for line := range strings.Lines(e.log.String()) {
		if strings.Contains(line, want) && !strings.Contains(line, "the instance cannot serve: its application is down or full") {
			t.Errorf("no reason in %s", line)
		}
	}
}
