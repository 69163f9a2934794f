package connectproxy_test

import (
	"context"
	"testing"

	"connect-proxy/connectproxy/agenttest"
)

func TestAProgramIsInTheMeshOfARealAgentByItself(t *testing.T) {
	agenttest.SkipShort(t)
	agent := agenttest.Modern(t, agenttest.Options{})
	m := &exampleMesh{client: agent.Client}
	m.ctx, m.cancel = context.WithCancel(context.Background())
	t.Cleanup(m.stop)
	denyUnderTraffic(t, m.client, m.host("db"), m.dialler("web", "db"), m.dialler("api", "db"))
}
