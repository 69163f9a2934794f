package traffic_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"go.uber.org/goleak"

	"connect-proxy/connectproxy/agenttest/traffic"
	"connect-proxy/listener/listenertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestPathsBelongToEndpoints(t *testing.T) {
	for path, want := range map[string]traffic.Endpoint{
		"/v1/agent/connect/ca/roots":         traffic.Roots,
		"/v1/agent/connect/ca/leaf/web":      traffic.Leaf,
		"/v1/agent/service/web-proxy":        traffic.Service,
		"/v1/agent/services":                 traffic.Services,
		"/v1/agent/service/register":         traffic.Register,
		"/v1/agent/service/deregister/web":   traffic.Deregister,
		"/v1/connect/intentions/match":       traffic.IntentionsMatch,
		"/v1/connect/intentions":             traffic.Intentions,
		"/v1/health/connect/web":             traffic.HealthConnect,
		"/v1/query/near/execute":             traffic.Query,
		"/v1/agent/connect/proxy/web-proxy":  traffic.ConnectProxy,
		"/v1/agent/check/update/service:web": traffic.CheckUpdate,
		"/v1/status/leader":                  traffic.Other,
	} {
		if got := traffic.Of(path); got != want {
			t.Errorf("%s is %s, not %s", path, got, want)
		}
	}
}

func ask(f *traffic.Front, path, token string) int {
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodGet, path, nil)
	r.Header.Set("X-Consul-Token", token)
	f.ServeHTTP(w, r)
	return w.Code
}

func TestRequestsAreCountedByEndpoint(t *testing.T) {
	release := make(chan struct{})
	f := traffic.New(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	done := make(chan int)
	for range 3 {
		go func() { done <- ask(f, "/v1/agent/connect/ca/roots?index=4", "t") }()
	}
	listenertest.Eventually(t, "three are held", func() bool { return f.Counts(traffic.Roots).Held == 3 })
	close(release)
	for range 3 {
		<-done
	}
	ask(f, "/v1/agent/self", "u")
	want := traffic.Counts{Requests: 3, MostHeld: 3, Token: "t", Path: "/v1/agent/connect/ca/roots", RawQuery: "index=4"}
	if got := f.Counts(traffic.Roots); got != want {
		t.Errorf("%+v", got)
	}
	if n := f.Requests(traffic.All); n != 4 {
		t.Errorf("%d in all", n)
	}
	f.ResetCounts()
	if n := f.Requests(traffic.All); n != 0 {
		t.Errorf("%d after the count began anew", n)
	}
}

func TestAFaultForOneEndpointGoesBeforeThatForAll(t *testing.T) {
	f := traffic.New(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	f.Fail(traffic.All, traffic.Fault{Status: http.StatusTooManyRequests})
	f.Fail(traffic.Leaf, traffic.Fault{Status: http.StatusNotFound, Left: 2})
	const leaf, roots = "/v1/agent/connect/ca/leaf/web", "/v1/agent/connect/ca/roots"
	for _, want := range []int{404, 404, 429} {
		if got := ask(f, leaf, ""); got != want {
			t.Errorf("leaf: %d, not %d", got, want)
		}
	}
	if got := ask(f, roots, ""); got != 429 {
		t.Errorf("roots: %d", got)
	}
	f.Heal()
	if got := ask(f, roots, ""); got != 200 {
		t.Errorf("roots, healed: %d", got)
	}
}
