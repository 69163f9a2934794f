package connectproxy

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"connect-proxy/listener"
)

// peers are open connections, one for each name in it.
type peers struct {
	mu     sync.Mutex // guards what follows
	open   []string
	closed []string
}

func (p *peers) Peers() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.open)
}

func (p *peers) ClosePeers(match func(string) bool, r listener.Reason) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	before := len(p.open)
	p.open = slices.DeleteFunc(p.open, func(uri string) bool {
		if !match(uri) {
			return false
		}
		p.closed = append(p.closed, uri+" "+r.String())
		return true
	})
	return before - len(p.open)
}

func (p *peers) ends() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.closed)
}

const meshHost = "spiffe://mesh.consul/ns/default/dc/dc1/svc/"

func caller(service string) listener.Session {
	return listener.Session{SessionInfo: listener.SessionInfo{Peer: meshHost + service, Serial: "0a:0b"}}
}

// judged runs an authorizer of "web" in a bubble whose first answers are there.
func judged(t *testing.T, open []string, test func(t *testing.T, a *authorizer, agent *memAgent, p *peers)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		agent := newMemAgent(t, "web")
		a := newAuthorizer(authorizerOptions{Client: agent.client(), Service: "web"})
		p := &peers{}
		for _, service := range open {
			p.open = append(p.open, meshHost+service)
			agent.set(func() { agent.allow[service] = true })
		}
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
		agent.change(func() { clear(agent.fault) })
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
