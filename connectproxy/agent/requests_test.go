package agent

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/consul/api"
)

func TestQuestionsAreCountedByWhatTheyAreAboutAndWhatTheyCameTo(t *testing.T) {
	codes := map[string]int{
		"/v1/agent/service/web":            http.StatusNotFound,
		"/v1/agent/connect/ca/leaf/web":    http.StatusForbidden,
		"/v1/health/connect/db":            http.StatusTooManyRequests,
		"/v1/discovery-chain/db":           http.StatusInternalServerError,
		"/v1/agent/service/deregister/web": http.StatusOK,
	}
	hold := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/agent/connect/ca/roots" {
			<-hold
		}
		w.WriteHeader(codes[r.URL.Path])
	}))
	defer server.Close()
	defer close(hold)
	c := clientOf(t, Options{Address: server.URL})
	query := func(ctx context.Context, path string) {
		_, _ = c.Raw().Query(path, nil, (&api.QueryOptions{}).WithContext(ctx))
	}
	query(t.Context(), "/v1/agent/service/web")
	query(t.Context(), "/v1/agent/connect/ca/leaf/web")
	query(t.Context(), "/v1/discovery-chain/db")
	_ = c.Agent().ServiceDeregister("web")
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	query(short, "/v1/agent/connect/ca/roots")
	given, up := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, up)
	query(given, "/v1/agent/connect/ca/roots") // given up, and so not counted
	query(t.Context(), "/v1/health/connect/db")
	query(t.Context(), "/v1/health/connect/db") // not put: the agent is left alone

	want := map[string]map[string]uint64{
		"registration": {"not_found": 1}, "leaf": {"denied": 1}, "chain": {"error": 1}, "register": {"ok": 1},
		"roots": {"timeout": 1}, "instances": {"throttled": 1},
	}
	if diff := cmp.Diff(want, c.ConnectionStatus().Requests); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
}
