package authorize

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"connect-proxy/connectproxy/agenttest/fakeagent"
	"connect-proxy/connectproxy/agenttest/traffic"
	"connect-proxy/listener"
	"connect-proxy/listener/listenertest"
)

// peers are open connections, one for each name in it.
type peers = listenertest.Peers[listener.Reason]

const meshHost = "spiffe://mesh.consul/ns/default/dc/dc1/svc/"

func sessionOf(service string) listener.Session {
	return listener.Session{SessionInfo: listener.SessionInfo{Peer: meshHost + service, Serial: "0a:0b"}}
}

// judged runs an authorizer of "web" in a bubble whose first answers are there.
func judged(t *testing.T, open []string, test func(t *testing.T, a *Authorizer, agent *fakeagent.Agent, p *peers)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		agent := fakeagent.New(t, fakeagent.Options{DefaultPolicy: "deny", InMemory: true})
		a := New(Options{Client: agent.Client(""), Service: "web"})
		var callers []string
		for _, service := range open {
			callers = append(callers, meshHost+service)
			agent.Intention(service, "web", "allow")
		}
		p := listenertest.NewPeers[listener.Reason](callers...)
		a.Watch(p)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- a.Run(ctx) }()
		pass(3 * time.Second)
		test(t, a, agent, p)
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Run returned %v", err)
		}
	})
}

// pass lets d of the bubble's time pass and everything in it come to rest.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func denied(err error) bool {
	var d *listener.Denied
	return errors.As(err, &d)
}

// judging answers for the agent, whatever the intentions say.
func judging(allowed bool) traffic.Fault {
	return traffic.Fault{Body: fmt.Sprintf(`{"Authorized":%t,"Reason":"as the test says"}`, allowed)}
}

// fail spoils the answers of the endpoints, and ends the question about
// intentions that is open.
func fail(agent *fakeagent.Agent, f traffic.Fault, endpoints ...traffic.Endpoint) {
	for _, e := range endpoints {
		agent.Fail(e, f)
	}
	agent.Intention("nobody", "nothing", "deny")
}
