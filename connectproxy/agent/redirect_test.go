package agent

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"connect-proxy/config"
	"connect-proxy/connectproxy/agenttest"
)

func TestTheTokenDoesNotFollowARedirect(t *testing.T) {
	for _, status := range []int{301, 302, 303, 307, 308} {
		var elsewhere recorder
		other := httptest.NewServer(&elsewhere)
		defer other.Close()
		agent := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, other.URL+r.URL.Path, status)
		}))
		defer agent.Close()

		c := clientOf(t, Options{Address: agent.URL, Token: "s3cret"})
		source := config.NewAgent(config.AgentOptions{
			Client: c.Client, Address: agent.URL, ProxyID: "web", Logger: hclog.NewNullLogger(),
		})
		problem := askOnce(t, source)
		for _, want := range []string{other.URL, "not followed", "-http-addr"} {
			if !strings.Contains(problem, want) {
				t.Errorf("%d: %q is not in %q", status, want, problem)
			}
		}
		if strings.Contains(problem, "agent runs") || strings.Contains(problem, "\n") {
			t.Errorf("%d: %q", status, problem)
		}
		if len(elsewhere.tokens) > 0 {
			t.Errorf("%d: the other host got the tokens %q", status, elsewhere.tokens)
		}
	}
}

// askOnce has a source ask until it has a problem, and returns that.
func askOnce(t *testing.T, source config.Source) string {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = source.Next(ctx)
	}()
	defer func() {
		cancel()
		<-done
	}()
	agenttest.Eventually(t, 10*time.Second, func() error {
		if source.Problem() == "" {
			return errors.New("there is no problem")
		}
		return nil
	})
	return source.Problem()
}

// An agent behind a reverse proxy, and an address with a slash too many.
func TestAPathBeforeTheAPIMayEndInASlash(t *testing.T) {
	var paths []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		paths = append(paths, r.URL.Path)
		_, _ = w.Write([]byte(`"127.0.0.1:8300"`))
	}))
	defer server.Close()
	for _, suffix := range []string{"", "/", "/consul", "/consul/", "/a/b//"} {
		address, err := ParseAddress(server.URL + suffix)
		if err != nil {
			t.Fatal(err)
		}
		ask(t, clientOf(t, Options{Address: address}).Client)
	}
	want := []string{"/v1/status/leader", "/v1/status/leader", "/consul/v1/status/leader", "/consul/v1/status/leader", "/a/b/v1/status/leader"}
	if !slices.Equal(paths, want) {
		t.Errorf("asked for %q, want %q", paths, want)
	}
}

func TestAWrongPathIsNotBlamedOnTheID(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	c := clientOf(t, Options{Address: server.URL + "/consol/"})
	problem := askOnce(t, config.NewAgent(config.AgentOptions{
		Client: c.Client, Address: server.URL + "/consol", ProxyID: "web", Logger: hclog.NewNullLogger(),
	}))
	if !strings.Contains(problem, "path") || strings.Contains(problem, "check the ID") {
		t.Errorf("problem: %q", problem)
	}
}
