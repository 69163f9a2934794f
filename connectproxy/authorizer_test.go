package connectproxy

import (
	"crypto/tls"
	"fmt"
	"testing"
	"time"

	"connect-proxy/config"
	"connect-proxy/connectproxy/agenttest"
	"connect-proxy/connectproxy/agenttest/fakeagent"
	"connect-proxy/listener"
	"connect-proxy/listener/listenertest"
)

// A client may be in its handshake while another authorizer takes the place of
// the one that was in use when it was accepted, and that remembers it as allowed.
func TestADenialHoldsForAClientAcceptedBeforeTheAuthorizerWasReplaced(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(c *config.Config, other int){
		"on the same socket": func(*config.Config, int) {},
		"on another socket":  func(c *config.Config, other int) { c.Public.Bind = tcp("127.0.0.1", other) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			agent := fakeagent.New(t, fakeagent.Options{})
			app := listenertest.NewEcho(t)
			port := agenttest.FreePorts(t, 2)
			before := serving("db", port, app.Addr())
			e := startEngine(t, agent, before).ready()
			dialPublic(t, agent, "web", port).echo("allowed")

			held := dial(t, port)
			agenttest.Eventually(t, soon, func() error {
				if n := e.Status().Listeners[0].Live; n != 2 {
					return fmt.Errorf("%d connections", n)
				}
				return nil
			})
			after := serving("db", port, app.Addr())
			after.MaxStaleAuthorization = time.Hour
			public := port
			if change(&after, port+1); after.Public.Bind.Port != port {
				public++
			}
			e.apply(after)
			e.ready()
			agent.Intention("web", "db", "deny")
			agenttest.Eventually(t, soon, func() error {
				if e.count(listener.ReasonIntentionRevoked) == 0 {
					return fmt.Errorf("the denial has not come")
				}
				return nil
			})
			dialPublic(t, agent, "web", public).ends()

			c := tls.Client(held, &tls.Config{
				Certificates:       []tls.Certificate{agent.Certificate("web")},
				InsecureSkipVerify: true, // the test is about the other side
			})
			_ = c.SetDeadline(time.Now().Add(2 * time.Second))
			if _, err := c.Write([]byte("let me in\n")); err != nil {
				return
			}
			if n, err := c.Read(make([]byte, 1)); n > 0 {
				t.Errorf("a client that is denied reached the application: %v", err)
			}
		})
	}
}
