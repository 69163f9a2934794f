package agenttest_test

import (
	"strings"
	"testing"
	"time"

	"connect-proxy/connectproxy/agenttest"
)

func TestTheProgramIsBuiltOnceAndRuns(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the program: not with -short")
	}
	start := time.Now()
	path := agenttest.Binary(t)
	t.Logf("built in %s, with the race detector: %v", time.Since(start), agenttest.Race())
	if again := agenttest.Binary(t); again != path {
		t.Errorf("%s, then %s", path, again)
	}
	p := agenttest.StartProxy(t, nil, "version")
	if code := p.Wait(30 * time.Second); code != 0 || !strings.Contains(p.Output.String(), "connect-proxy") {
		t.Errorf("exit code %d, output %q", code, p.Output)
	}
}
