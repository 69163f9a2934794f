package identity_test

import (
	"context"
	"crypto/tls"
	"errors"
	"sync"
	"testing"

	"connect-proxy/connectproxy/agenttest/fakeagent"
	"connect-proxy/connectproxy/authorize"
	"connect-proxy/connectproxy/identity"
	"connect-proxy/listener"
	"connect-proxy/listener/listenertest"
)

// judging runs the authorizer of "web" until the test ends.
func judging(t *testing.T, o authorize.Options, live ...authorize.Peers) *authorize.Authorizer {
	t.Helper()
	a := authorize.New(o)
	for _, l := range live {
		a.Watch(l)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = a.Run(ctx) })
	t.Cleanup(func() { cancel(); running.Wait() })
	return a
}

func denied(err error) bool {
	var d *listener.Denied
	return errors.As(err, &d)
}

func TestAResumedSessionIsJudgedLikeANewOne(t *testing.T) {
	for name, max := range map[string]uint16{"TLS 1.2": tls.VersionTLS12, "TLS 1.3": tls.VersionTLS13} {
		t.Run(name, func(t *testing.T) {
			agent := fakeagent.New(t, fakeagent.Options{})
			web := identity.Ready(t, identity.Running(t, identity.Options{Client: agent.Client(""), Service: "web"}))
			api := identity.Ready(t, identity.Running(t, identity.Options{Client: agent.Client(""), Service: "api"}))
			web.LimitVersion(max)
			a := judging(t, authorize.Options{Client: agent.Client(""), Service: "web"})
			here := identity.Serve(t, "web", web.Handshake(identity.ServerTLS{}))
			judge := func() (resumed bool, err error) {
				if _, err := identity.Visit(t, api, here); err != nil {
					t.Fatal(err)
				}
				s := here.Session()
				return s.Resumed, a.Authorize(t.Context(), s)
			}
			if _, err := judge(); err != nil {
				t.Fatalf("allowed: %v", err)
			}
			if resumed, err := judge(); err != nil || !resumed {
				t.Fatalf("allowed: resumed %t, %v", resumed, err)
			}
			listenertest.Eventually(t, "the intentions are known", func() bool { return a.Status().Generation > 0 })
			before := a.Status().Generation
			agent.Intention("api", "web", "deny")
			listenertest.Eventually(t, "the denial is known", func() bool { return a.Status().Generation > before })
			if resumed, err := judge(); !denied(err) || !resumed {
				t.Errorf("denied: resumed %t, %v", resumed, err)
			}
		})
	}
}
