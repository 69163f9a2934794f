package systemtest_test

import (
	"fmt"
	"net"
	"strings"
	"testing"

	"connect-proxy/connectproxy/agenttest"
	"connect-proxy/listener/listenertest"
)

// TestApplicationsTalkThroughTwoProxies runs the traffic of applications
// between two services whose proxies an agent has launched, and between two
// that are registered. Redis, PostgreSQL, nginx and nc take part where they are
// installed.
func TestApplicationsTalkThroughTwoProxies(t *testing.T) {
	agenttest.SkipShort(t)
	t.Parallel()
	stage := newStage(t)
	greeter := listenertest.NewServer(t, greet)
	apps := []tenant{
		{name: "stage", port: portOf(stage.Server)},
		{name: "greeter", port: portOf(greeter)},
	}
	redis, postgres, nginx := runRedis(t), runPostgres(t), runNginx(t)
	for _, installed := range []*tenant{redis, postgres.app(), nginx.app()} {
		if installed != nil {
			apps = append(apps, *installed)
		}
	}
	for kind, start := range map[string]func(*testing.T, []tenant) *fabric{
		"launched by a managed agent":    managedFabric,
		"registered with a modern agent": registeredFabric,
	} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			m := start(t, apps)
			m.stage = stage
			for name, test := range map[string]func(*testing.T, *fabric){
				"redis, pipelines":                        pipelineRedis,
				"redis, large values":                     largeRedis,
				"redis, messages":                         subscribeRedis,
				"PostgreSQL, COPY":                        postgres.copies,
				"PostgreSQL, pgbench":                     postgres.bench,
				"nginx, one connection":                   nginx.keepsAlive,
				"nginx, a big file":                       nginx.bigFile,
				"HTTP, every body":                        everyBody,
				"HTTP/1.0":                                endedByClosing,
				"nc -N":                                   netcat,
				"a server that speaks first":              speaksFirst,
				"half-closed by the client":               halfClosedByClient,
				"half-closed by the application":          halfClosedByApplication,
				"a big transfer, both ways":               bigTransfer,
				"tiny writes":                             tinyWrites,
				"reset by the client":                     resetByClient,
				"reset by the application":                resetByApplication,
				"reset by the application with an answer": resetAfterAnswer,
			} {
				t.Run(name, func(t *testing.T) {
					parallel(t)
					test(t, m)
				})
			}
		})
	}
}

// hasFound is nil once the log tells of an instance of the upstream.
func hasFound(log, name string) error {
	if !strings.Contains(log, "instances found: upstream="+name+" ") {
		return fmt.Errorf("no instance of %s has been found", name)
	}
	return nil
}

// greet speaks first, and then sends back what it gets.
func greet(c *net.TCPConn) {
	if _, err := c.Write([]byte("220 ready when you are\n")); err == nil {
		answer(c, "greeter")
	}
}
