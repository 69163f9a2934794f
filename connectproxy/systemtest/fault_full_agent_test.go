package systemtest_test

import (
	"net"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"connect-proxy/connectproxy/agenttest"
)

func upstreamPorts(t *testing.T, names ...string) []api.Upstream {
	t.Helper()
	var ups []api.Upstream
	for _, n := range names {
		ups = append(ups, up(n, agenttest.FreePort(t)))
	}
	return ups
}

// An agent counts connections by address and answers 429 to one too many.
func TestAnAgentThatIsFullIsWaitedForWithOneWarning(t *testing.T) {
	agenttest.SkipShort(t)
	parallel(t)
	const limit = 8
	a := agenttest.Modern(t, agenttest.Options{HCL: []string{`limits { http_max_conns_per_client = 8 }`}})
	names := []string{"one", "two", "three", "four", "five"}
	sidecar{name: "web", app: 1, port: agenttest.FreePort(t), upstreams: upstreamPorts(t, names...)}.register(a)
	var others []net.Conn
	for range limit {
		c, err := net.Dial("tcp", a.HTTPAddr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		others = append(others, c)
	}
	p := runProxy(t, a, "-sidecar-for", "web")
	p.unready("429")
	waiting(t, func() { pause(10 * time.Second) })
	if n := strings.Count(p.Output.String(), "agent does not answer: error="); n != 1 {
		t.Errorf("%d warnings about a full agent", n)
	}
	for _, c := range others {
		c.Close()
	}
	p.ready()
	p.WaitOutput(soon, "agent answers again: failures=")
}

func TestAnOutageOfTheAgentIsOneWarningForAllQuestions(t *testing.T) {
	agenttest.SkipShort(t)
	parallel(t)
	a := agenttest.Modern(t, agenttest.Options{Persist: true})
	p := sidecar{
		name: "web", app: 1, port: agenttest.FreePort(t), upstreams: upstreamPorts(t, "one", "two", "three", "four", "five"),
	}.start(t, a)
	a.Kill()
	waiting(t, func() { pause(8 * time.Second) })
	a.Start()
	p.WaitOutput(soon, "agent answers again: failures=")
	warnings := 0
	for line := range strings.Lines(p.Output.String()) {
		// An agent that has just started may answer with an error of its own.
		if strings.Contains(line, "[WARN]") && !strings.Contains(line, "no healthy instance") &&
			!strings.Contains(line, "agent answers with an error") {
			warnings++
			t.Log(line)
		}
	}
	if warnings != 1 {
		t.Errorf("%d warnings", warnings)
	}
}
