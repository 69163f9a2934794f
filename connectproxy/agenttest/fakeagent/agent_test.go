package fakeagent_test

import (
	"context"
	"crypto/x509"
	"errors"
	"net/http"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/consul/api"

	"connect-proxy/connectproxy/agenttest/fakeagent"
	"connect-proxy/connectproxy/agenttest/traffic"
	"connect-proxy/listener/listenertest"
)

func leafOf(t *testing.T, a *fakeagent.Agent, q *api.QueryOptions) *api.LeafCert {
	t.Helper()
	l, _, err := a.Client("").Agent().ConnectCALeaf("web", q)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestCertificatesOfTheTestsOwnAreUnderTheAgentsRoot(t *testing.T) {
	a := fakeagent.New(t, fakeagent.Options{})
	other := listenertest.NewCA(t)
	for _, c := range []struct {
		name   string
		change func()
	}{
		{"at first", func() {}}, {"after a rotation", a.Rotate}, {"under a foreign root", func() { a.Trust(other) }},
	} {
		c.change()
		cert := a.Certificate("db")
		_, err := cert.Leaf.Verify(x509.VerifyOptions{Roots: a.Pool(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
		if err != nil || cert.Leaf.URIs[0].String() != a.URI("db") {
			t.Errorf("%s: %s, %v", c.name, cert.Leaf.URIs[0], err)
		}
		roots, _, err := a.Client("").Agent().ConnectCARoots(nil)
		if err != nil || roots.TrustDomain != a.TrustDomain() {
			t.Errorf("%s: trust domain %s, want %s; %v", c.name, roots.TrustDomain, a.TrustDomain(), err)
		}
	}
}

func TestALeafMayHaveExpiredUntilItIsRenewed(t *testing.T) {
	a := fakeagent.New(t, fakeagent.Options{})
	end := time.Now().Add(-time.Minute).Truncate(time.Second)
	a.PinLeaf("web", end.Add(-time.Hour), end)
	if l := leafOf(t, a, nil); !l.ValidBefore.Equal(end) {
		t.Errorf("valid before %s", l.ValidBefore)
	}
	a.RenewLeaf("web")
	if l := leafOf(t, a, nil); l.ValidBefore.Before(time.Now()) {
		t.Errorf("valid before %s", l.ValidBefore)
	}
}

func TestAFrozenLeafIsSeenByWhoAsksForTheOneOfThisMoment(t *testing.T) {
	a := fakeagent.New(t, fakeagent.Options{})
	old := leafOf(t, a, nil).SerialNumber
	a.FreezeLeaf("web")
	renewed := a.RenewLeaf("web").SerialNumber
	if got := leafOf(t, a, &api.QueryOptions{WaitIndex: 1}).SerialNumber; got != old {
		t.Errorf("who asks for a newer one got %s, want %s", got, old)
	}
	if got := leafOf(t, a, nil).SerialNumber; got != renewed {
		t.Errorf("who asks for the one of now got %s, want %s", got, renewed)
	}
}

func TestInMemoryTheClockOfABubbleGoesOnWhileAQuestionIsOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := fakeagent.New(t, fakeagent.Options{InMemory: true})
		a.StickLeafs()
		begin := time.Now()
		leafOf(t, a, &api.QueryOptions{WaitTime: time.Hour})
		if took := time.Since(begin); took != time.Hour {
			t.Errorf("a leaf query that is stuck took %s", took)
		}
		ask := func(ctx context.Context) error {
			_, _, err := a.Client("").Agent().ConnectCARoots((&api.QueryOptions{}).WithContext(ctx))
			return err
		}
		a.Fail(traffic.Roots, traffic.Fault{Hang: true})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := ask(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("without an answer: %v", err)
		}
		a.Fail(traffic.Roots, traffic.Fault{Cut: true})
		if err := ask(t.Context()); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("without an agent: %v", err)
		}
		a.Fail(traffic.Roots, traffic.Fault{Status: http.StatusTooManyRequests, Left: 1})
		var status api.StatusError
		if err := ask(t.Context()); !errors.As(err, &status) || status.Code != http.StatusTooManyRequests {
			t.Errorf("from an agent that is full: %v", err)
		}
		if err := ask(t.Context()); err != nil {
			t.Errorf("once healed: %v", err)
		}
	})
}

func TestAnAgentMayForgetItsServices(t *testing.T) {
	for _, managed := range []bool{false, true} {
		a := fakeagent.New(t, fakeagent.Options{Managed: managed})
		a.Instance("web", 20000)
		if s := a.Service("web-sidecar-proxy"); s == nil || s.Port != 20000 {
			t.Fatalf("registered %+v", s)
		}
		a.Forget()
		if s := a.Service("web-sidecar-proxy"); s != nil {
			t.Errorf("still there: %+v", s)
		}
	}
}

func TestWhatTheTestSaysGoesBeforeTheAgentsOwnAnswer(t *testing.T) {
	a := fakeagent.New(t, fakeagent.Options{})
	a.Answer("/v1/config/mesh", []any{map[string]any{"Kind": "mesh"}})
	var out []map[string]any
	if _, err := a.Client("").Raw().Query("/v1/config/mesh", &out, nil); err != nil || len(out) != 1 {
		t.Errorf("%v, %v", out, err)
	}
}
