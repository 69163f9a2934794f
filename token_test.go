package main

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/go-hclog"
)

// An agent that takes a question and never answers must not hold on to who
// asked: consul/api has no context for it.
func TestAQuestionThatDoesNotBlockHasATimeLimit(t *testing.T) {
	over := make(chan struct{})
	agent := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			_, _ = w.Write([]byte(`{"Config": {}}`))
			return
		}
		select {
		case <-over:
		case <-r.Context().Done():
		}
	}))
	defer agent.Close()
	defer close(over)
	base := &http.Transport{}
	defer base.CloseIdleConnections()
	tokens := &tokenTransport{base: base, logger: hclog.NewNullLogger(), limit: 50 * time.Millisecond}
	client, err := api.NewClient(&api.Config{
		Address: agent.Listener.Addr().String(), HttpClient: &http.Client{Transport: tokens},
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = client.Agent().ConnectAuthorize(&api.AgentAuthorizeParams{Target: "web"})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a question without an answer ended with %v", err)
	}
	if _, err := client.Agent().Self(); err != nil {
		t.Errorf("a question with one: %v", err)
	}
}
