package identity

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"connect-proxy/connectproxy/agenttest/fakeagent"
	"connect-proxy/upstream/watch"
)

// An agent that asked its servers for roots before they had any answers so from
// memory, for up to a minute, until it is asked for something newer.
func TestRootsThatTheAgentMissedAreAskedForAnew(t *testing.T) {
	real := fakeagent.New(t, fakeagent.Options{})
	var full json.RawMessage
	if _, err := real.Client("").Raw().Query("/v1/agent/connect/ca/roots", &full, nil); err != nil {
		t.Fatal(err)
	}
	agent := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Consul-Index", "1")
		if r.URL.Query().Get("index") == "" {
			_, _ = w.Write([]byte(`{"ActiveRootID": "", "TrustDomain": "", "Roots": []}`))
			return
		}
		w.Header().Set("X-Consul-Index", "8")
		_, _ = w.Write(full)
	}))
	defer agent.Close()
	c := api.DefaultConfig()
	c.Address = agent.Listener.Addr().String()
	client, err := api.NewClient(c)
	if err != nil {
		t.Fatal(err)
	}
	fetch := fetchRoots(Options{Client: client, Service: "web"}, time.Now)
	r, _, err := fetch(context.WithoutCancel(t.Context()), watch.Cursor{}, time.Second)
	if err != nil || r.trustDomain != real.TrustDomain() {
		t.Fatalf("roots %+v: %v", r, err)
	}
	c.HttpClient.CloseIdleConnections()
}
