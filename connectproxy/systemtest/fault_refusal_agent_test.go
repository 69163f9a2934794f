package systemtest_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/hashicorp/consul/api"

	"connect-proxy/config"
	"connect-proxy/connectproxy/agenttest"
	"connect-proxy/connectproxy/agenttest/traffic"
)

// Of two instances one has its application down, or cannot have its callers
// judged: its proxy is up and takes connections.
func TestAnInstanceWhoseProxyRefusesUsCostsNoConnection(t *testing.T) {
	agenttest.SkipShort(t)
	parallel(t)
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
	answersGood(t, to, 80, "callers cannot be judged")
	badProxy.WaitOutput(soon, "reason=authorization_unknown")
	client.WaitOutput(soon, "reason="+inRefusal("unavailable"))

	bad.Close()
	front.Heal()
	agenttest.Eventually(t, soon, func() error { // until its turn on probation has come
		answersGood(t, to, 1, "an application goes down")
		return said(badProxy, "reason=dial_failed")
	})
	answersGood(t, to, 60, "an application is down")

	a.Intention("web", "db", "deny")
	agenttest.Eventually(t, soon, func() error {
		if answeredBy(to, "good") == nil {
			return errors.New("the denied caller is served")
		}
		return said(client, "reason="+inRefusal("upstream_denied"))
	})
}

// resets reports that the proxies of this run cannot say why they refuse, and
// reset: their records are crypto/tls's.
func resets() bool {
	return os.Getenv("CONNECT_PROXY_TLS_RECORDS") == string(config.CryptoTLSRecords)
}

// inRefusal is the reason that a refused proxy gives.
func inRefusal(reason string) string {
	if resets() {
		return "upstream_reset"
	}
	return reason
}

// answersGood makes n connections. A refusal costs none of them; where it is a
// reset, which might have come from the application, it costs those after which
// the instance is set aside.
func answersGood(t *testing.T, to string, n int, while string) {
	t.Helper()
	lost, mostLost := 0, 0
	if resets() {
		mostLost = 5
	}
	for i := range n {
		if err := answeredBy(to, "good"); err != nil {
			if lost++; lost > mostLost {
				t.Fatalf("connection %d, while %s: %v", i, while, err)
			}
		}
	}
}

// said reports whether a proxy's log has text.
func said(p *proxyProcess, text string) error {
	if !strings.Contains(p.Output.String(), text) {
		return fmt.Errorf("the log has no %s", text)
	}
	return nil
}
