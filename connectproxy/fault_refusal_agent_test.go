package connectproxy_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/hashicorp/consul/api"

	"connect-proxy/connectproxy/agenttest"
	"connect-proxy/connectproxy/agenttest/traffic"
)

// Of two instances one has its application down, or cannot have its callers
// judged: its proxy is up and takes connections.
func TestAnInstanceWhoseProxyRefusesUsCostsNoConnection(t *testing.T) {
	agenttest.SkipShort(t)
	t.Parallel()
	a := agenttest.Modern(t, agenttest.Options{})
	front := a.Record()

	port := agenttest.FreePorts(t, 6)
	good := app(t, "good")
	bad := app(t, "bad")
	sidecar{name: "db", id: "db-good", app: portOf(good), port: port}.start(t, a)
	badSide := sidecar{name: "db", id: "db-bad", app: portOf(bad), port: port + 1}
	badSide.register(a)
	badProxy := runProxyAt(t, "http://"+front.Addr, a.Token, "-sidecar-for", "db-bad").ready()
	a.WaitConnect("db", 2)
	front.Fail(traffic.Authorize, traffic.Fault{Status: 500, Body: "no"})

	web := sidecar{name: "web", app: 1, port: port + 2, upstreams: []api.Upstream{up("db", port+3)}}
	client := web.start(t, a)
	to := at(port + 3)
	reaches(t, to, "good")
	for range 20 {
		dial(t, to).wants("good")
	}
	for i := range 60 {
		if err := answeredBy(to, "good"); err != nil {
			t.Fatalf("connection %d, while callers cannot be judged: %v", i, err)
		}
	}
	badProxy.WaitOutput(soon, "reason=authorization_unknown")
	client.WaitOutput(soon, "reason=unavailable")

	bad.Close()
	front.Heal()
	agenttest.Eventually(t, soon, func() error { // until its turn on probation has come
		if err := answeredBy(to, "good"); err != nil {
			t.Fatal(err)
		}
		return said(badProxy, "reason=dial_failed")
	})
	for i := range 60 {
		if err := answeredBy(to, "good"); err != nil {
			t.Fatalf("connection %d, while an application is down: %v", i, err)
		}
	}

	a.Intention("web", "db", "deny")
	agenttest.Eventually(t, soon, func() error {
		if answeredBy(to, "good") == nil {
			return errors.New("the denied caller is served")
		}
		return said(client, "reason=upstream_denied")
	})
}

// said reports whether a proxy's log has text.
func said(p *proxyProcess, text string) error {
	if !strings.Contains(p.Output.String(), text) {
		return fmt.Errorf("the log has no %s", text)
	}
	return nil
}
