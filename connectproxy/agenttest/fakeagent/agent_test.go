package fakeagent_test

import (
	"errors"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"connect-proxy/connectproxy/agenttest/fakeagent"
	"connect-proxy/connectproxy/agenttest/traffic"
)

// pending runs a blocking query and says when it has been answered.
func pending[T any](t *testing.T, query func(*api.QueryOptions) (T, *api.QueryMeta, error), o api.QueryOptions) <-chan T {
	t.Helper()
	answered := make(chan T, 1)
	go func() {
		v, _, err := query(o.WithContext(t.Context()))
		if err != nil && t.Context().Err() == nil {
			t.Errorf("blocking query: %v", err)
		}
		answered <- v
	}()
	return answered
}

// held waits until n requests to the endpoint are held.
func held(t *testing.T, a *fakeagent.Agent, e traffic.Endpoint, n int) {
	t.Helper()
	deadline := time.After(5 * time.Second)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for a.Counts(e).Held != n {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%d requests to %s are held, not %d", a.Counts(e).Held, e, n)
		}
	}
}

func receive[T any](t *testing.T, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(5 * time.Second):
		t.Fatal("no answer within 5 seconds")
		panic("unreachable")
	}
}

func TestABlockingQueryIsAnsweredByAChange(t *testing.T) {
	a := fakeagent.New(t, fakeagent.Options{})
	c := a.Client("")
	first, meta, err := c.Health().Connect("web", "", true, nil)
	if err != nil || len(first) != 0 {
		t.Fatalf("%v, %v", first, err)
	}
	answered := pending(t, func(q *api.QueryOptions) ([]*api.ServiceEntry, *api.QueryMeta, error) {
		return c.Health().Connect("web", "", true, q)
	}, api.QueryOptions{WaitIndex: meta.LastIndex})
	held(t, a, traffic.HealthConnect, 1)
	a.SetInstances("web", fakeagent.Instance{Service: "web", Port: 21000, Weight: 3},
		fakeagent.Instance{Service: "web", ID: "sick", Port: 21001, Status: "critical"})
	got := receive(t, answered)
	if len(got) != 1 || got[0].Service.Port != 21000 || got[0].Service.Weights.Passing != 3 {
		t.Fatalf("%+v", got)
	}
}

func TestABlockingQueryEndsWithItsWaitAndTheSameIndex(t *testing.T) {
	a := fakeagent.New(t, fakeagent.Options{})
	c := a.Client("")
	_, first, err := c.Agent().ConnectCARoots(nil)
	if err != nil {
		t.Fatal(err)
	}
	_, second, err := c.Agent().ConnectCARoots(&api.QueryOptions{WaitIndex: first.LastIndex, WaitTime: 20 * time.Millisecond})
	if err != nil || second.LastIndex != first.LastIndex || second.RequestTime < 20*time.Millisecond {
		t.Fatalf("index %d after %d, in %s, %v", second.LastIndex, first.LastIndex, second.RequestTime, err)
	}
}

func TestRewindingAnswersWithALowerIndex(t *testing.T) {
	a := fakeagent.New(t, fakeagent.Options{})
	c := a.Client("")
	_, first, err := c.Agent().ConnectCARoots(nil)
	if err != nil {
		t.Fatal(err)
	}
	index := make(chan uint64, 1)
	answered := pending(t, func(q *api.QueryOptions) (*api.CARootList, *api.QueryMeta, error) {
		roots, meta, err := c.Agent().ConnectCARoots(q)
		if err == nil {
			index <- meta.LastIndex
		}
		return roots, meta, err
	}, api.QueryOptions{WaitIndex: first.LastIndex})
	held(t, a, traffic.Roots, 1)
	a.Rewind()
	receive(t, answered)
	if got := receive(t, index); got >= first.LastIndex {
		t.Fatalf("index %d after %d", got, first.LastIndex)
	}
}

func TestIntentionsAreJudgedByPrecedence(t *testing.T) {
	for _, managed := range []bool{false, true} {
		a := fakeagent.New(t, fakeagent.Options{Managed: managed, DefaultPolicy: "deny"})
		a.SetIntention(fakeagent.Intention{Source: "*", Destination: "web", Action: "allow"})
		a.SetIntention(fakeagent.Intention{Source: "db", Destination: "web", Action: "deny"})
		a.SetIntention(fakeagent.Intention{Source: "api", Destination: "web"})
		for source, want := range map[string]bool{"db": false, "any": true, "api": false} {
			auth, err := a.Client("").Agent().ConnectAuthorize(&api.AgentAuthorizeParams{
				Target: "web", ClientCertURI: a.URI(source),
			})
			if err != nil || auth.Authorized != want {
				t.Errorf("managed %v: %s: %+v, %v", managed, source, auth, err)
			}
		}
		auth, err := a.Client("").Agent().ConnectAuthorize(&api.AgentAuthorizeParams{Target: "other", ClientCertURI: a.URI("db")})
		if err != nil || auth.Authorized {
			t.Errorf("managed %v: by default: %+v, %v", managed, auth, err)
		}
	}
}

func TestAMatchHasAnIndexOnlyInLaterVersions(t *testing.T) {
	for managed, want := range map[bool]bool{false: true, true: false} {
		a := fakeagent.New(t, fakeagent.Options{Managed: managed})
		a.SetIntention(fakeagent.Intention{Source: "*", Destination: "web", Action: "deny"})
		match, meta, err := a.Client("").Connect().IntentionMatch(&api.IntentionMatch{By: api.IntentionMatchDestination, Names: []string{"web"}}, nil)
		if err != nil || len(match["web"]) != 1 || meta.LastIndex > 0 != want {
			t.Errorf("managed %v: %v, index %d, %v", managed, match, meta.LastIndex, err)
		}
	}
}

func TestARegisteredServiceIsWatchedByHash(t *testing.T) {
	a := fakeagent.New(t, fakeagent.Options{})
	c := a.Client("")
	register := func(port int) {
		t.Helper()
		err := c.Agent().ServiceRegister(&api.AgentServiceRegistration{
			Kind: api.ServiceKindConnectProxy, ID: "p", Name: "web-sidecar-proxy", Port: port,
			Proxy: &api.AgentServiceConnectProxyConfig{DestinationServiceName: "web"},
			Check: &api.AgentServiceCheck{TTL: "10s"},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	register(21000)
	one, _, err := c.Agent().Service("p", nil)
	if err != nil || one.Proxy.DestinationServiceName != "web" {
		t.Fatalf("%+v, %v", one, err)
	}
	answered := pending(t, func(q *api.QueryOptions) (*api.AgentService, *api.QueryMeta, error) {
		return c.Agent().Service("p", q)
	}, api.QueryOptions{WaitHash: one.ContentHash})
	held(t, a, traffic.Service, 1)
	register(21001)
	if two := receive(t, answered); two.Port != 21001 {
		t.Fatalf("%+v", two)
	}
	if err := c.Agent().UpdateTTL("service:p", "", "passing"); err != nil || a.Check("service:p") != "passing" {
		t.Fatalf("the check is %q, %v", a.Check("service:p"), err)
	}
	if err := c.Agent().ServiceDeregister("p"); err != nil || a.HasService("p") {
		t.Fatalf("known %v, %v", a.HasService("p"), err)
	}
}

func TestATokenIsRequiredButForTheRoots(t *testing.T) {
	a := fakeagent.New(t, fakeagent.Options{})
	a.RequireToken("good")
	if _, _, err := a.Client("").Agent().ConnectCARoots(nil); err != nil {
		t.Error(err)
	}
	if _, _, err := a.Client("good").Agent().ConnectCALeaf("web", nil); err != nil {
		t.Error(err)
	}
	_, _, err := a.Client("bad").Agent().ConnectCALeaf("web", nil)
	var status api.StatusError
	if !errors.As(err, &status) || status.Code != http.StatusForbidden {
		t.Errorf("%v", err)
	}
}

func TestFaultsSpoilAnswersUntilTheyAreHealed(t *testing.T) {
	a := fakeagent.New(t, fakeagent.Options{})
	c := a.Client("")
	roots := func() error {
		_, _, err := c.Agent().ConnectCARoots(nil)
		return err
	}
	for name, fault := range map[string]traffic.Fault{
		"status":  {Status: http.StatusInternalServerError, Body: "No cluster leader"},
		"garbage": traffic.Garbage(),
		"cut":     {Cut: true},
	} {
		a.Fail(traffic.All, fault)
		if roots() == nil {
			t.Errorf("%s: no error", name)
		}
	}
	a.Fail(traffic.Roots, traffic.Fault{Hang: true})
	broken := make(chan error, 1)
	go func() { broken <- roots() }()
	held(t, a, traffic.Roots, 1)
	a.Heal()
	if err := receive(t, broken); err != nil {
		t.Errorf("a request that hung was not let go: %v", err)
	}
	a.Fail(traffic.Roots, traffic.Fault{Status: http.StatusTooManyRequests, Left: 1})
	if roots() == nil || roots() != nil {
		t.Error("a fault for one request was not for one request")
	}
	if n := a.Requests(traffic.Roots); n < 6 {
		t.Errorf("%d requests were counted", n)
	}
}

func TestAnUnknownPathIsNotAnEndpoint(t *testing.T) {
	a := fakeagent.New(t, fakeagent.Options{})
	c := a.Client("")
	_, err := c.Raw().Query("/v1/agent/connect/proxy/web-proxy", nil, nil)
	var status api.StatusError
	if !errors.As(err, &status) || status.Code != http.StatusNotFound {
		t.Errorf("%v", err)
	}
	a.Answer("/v1/discovery-chain/web", map[string]any{"Chain": map[string]any{"ServiceName": "web"}})
	var out map[string]any
	if _, err := c.Raw().Query("/v1/discovery-chain/"+url.PathEscape("web"), &out, nil); err != nil || out["Chain"] == nil {
		t.Errorf("%v, %v", out, err)
	}
}
