package watch

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	stdlog "log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"connect-proxy/listener/listenertest"
)

// question puts one to an agent at address, as a Fetch does.
func question(t *testing.T, address string, o ...func(*api.Config)) error {
	t.Helper()
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	c := &api.Config{Address: address, Transport: transport}
	for _, set := range o {
		set(c)
	}
	client, err := api.NewClient(c)
	if err != nil {
		t.Fatal(err)
	}
	var out struct{ TrustDomain string }
	_, err = client.Raw().Query("/v1/agent/connect/ca/roots", &out, (&api.QueryOptions{}).WithContext(t.Context()))
	if err == nil {
		t.Fatal("the question was answered")
	}
	return err
}

func answering(status int, body string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	})
}

func serving(t *testing.T, h http.Handler, start func(*httptest.Server)) *httptest.Server {
	s := httptest.NewUnstartedServer(h)
	s.Config.ErrorLog = stdlog.New(io.Discard, "", 0)
	start(s)
	t.Cleanup(s.Close)
	return s
}

// An agent that answered is never called one that does not, and whatever went
// wrong, its line says what to do.
func TestAFailedQuestionIsBlamedOnWhatFailed(t *testing.T) {
	plain := func(status int, body string) func(*testing.T) error {
		return func(t *testing.T) error {
			return question(t, serving(t, answering(status, body), (*httptest.Server).Start).URL)
		}
	}
	for _, c := range []struct {
		name string
		ask  func(*testing.T) error
		what string
		want []string
	}{
		{"400 for a namespace", plain(400, `Invalid query parameter: "ns" - Namespaces are a Consul Enterprise feature`),
			"agent refuses a question", []string{"the agent answered 400 (Invalid query", "-namespace"}},
		{"403 for an unknown token", plain(403, "ACL not found"),
			"agent refuses a question", []string{"the agent answered 403", "does not know the token"}},
		{"404", plain(404, "Invalid URL path: not a recognized HTTP API endpoint"),
			"agent refuses a question", []string{"the agent answered 404", "-http-addr", "version"}},
		{"404 without a word", plain(404, ""), "agent refuses a question", []string{"404 (Not Found)"}},
		{"429", plain(429, "too many"), "agent refuses a question", []string{"429", "raise its limits"}},
		{"500 without Connect", plain(500, "Connect must be enabled in order to use this endpoint"),
			"agent answers with an error", []string{"500", "connect { enabled = true }"}},
		{"a prepared query that there is not", plain(404, "Query not found"), "agent refuses a question", []string{"no prepared query of that name"}},
		{"500 without a leader", plain(500, "No cluster leader"), "agent answers with an error", []string{"have no leader"}},
		{"502 with a page", plain(502, "<html>\n<body>"+strings.Repeat("bad gateway ", 100)),
			"agent answers with an error", []string{"502 (<html> <body>bad", "…", "HTTP_PROXY"}},
		{"no JSON", plain(200, "<html>"), "agent's answer is of no use", nil},
		{"nobody there", func(t *testing.T) error {
			return question(t, listenertest.Refusing(t))
		}, "agent does not answer", []string{"connection refused", "check that the agent runs"}},
		{"no answer in time", func(*testing.T) error { return fmt.Errorf("%w (1s): %w", errSilent, context.DeadlineExceeded) },
			"agent does not answer", []string{"check that the agent runs"}},
		{"HTTPS where it speaks HTTP", func(t *testing.T) error {
			s := serving(t, answering(200, "{}"), (*httptest.Server).Start)
			return question(t, strings.Replace(s.URL, "http:", "https:", 1))
		}, "agent does not answer", []string{"write http://"}},
		{"HTTP where it speaks HTTPS", func(t *testing.T) error {
			s := serving(t, answering(200, "{}"), (*httptest.Server).StartTLS)
			return question(t, strings.Replace(s.URL, "https:", "http:", 1))
		}, "agent refuses a question", []string{"answered 400", "write https://"}},
		{"a certificate of an unknown CA", func(t *testing.T) error {
			return question(t, serving(t, answering(200, "{}"), (*httptest.Server).StartTLS).URL)
		}, "agent does not answer", []string{"unknown authority", "-ca-file"}},
		{"a certificate of another name", func(t *testing.T) error {
			s := serving(t, answering(200, "{}"), (*httptest.Server).StartTLS)
			return trusting(t, s, "elsewhere.test", time.Now())
		}, "agent does not answer", []string{"elsewhere.test", "-tls-server-name"}},
		{"a clock before the agent's certificate", func(t *testing.T) error {
			s := serving(t, answering(200, "{}"), (*httptest.Server).StartTLS)
			return trusting(t, s, "example.com", s.Certificate().NotBefore.Add(-time.Hour))
		}, "agent does not answer", []string{"current time", "set the clock"}},
		{"a certificate wanted of us", func(t *testing.T) error {
			s := serving(t, answering(200, "{}"), func(s *httptest.Server) {
				s.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
				s.StartTLS()
			})
			return trusting(t, s, "example.com", time.Now())
		}, "agent does not answer", []string{"-client-cert"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := c.ask(t)
			got := Explain(fmt.Errorf("the token needs x: %w", err))
			if what := happened(got); what != c.what {
				t.Errorf("%q, want %q", what, c.what)
			}
			for _, want := range c.want {
				if !strings.Contains(got.Error(), want) {
					t.Errorf("%q does not say %q", got, want)
				}
			}
			if !errors.Is(got, err) || Explain(got) != got || strings.ContainsAny(got.Error(), "\r\n") || len(got.Error()) > 600 {
				t.Errorf("%q", got)
			}
		})
	}
	if Explain(nil) != nil {
		t.Error("an explanation of nothing")
	}
}

// trusting asks an HTTPS agent whose CA is known, by that name and clock.
func trusting(t *testing.T, s *httptest.Server, name string, now time.Time) error {
	pool := x509.NewCertPool()
	pool.AddCert(s.Certificate())
	return question(t, s.URL, func(c *api.Config) {
		c.Transport.TLSClientConfig = &tls.Config{RootCAs: pool, ServerName: name, Time: func() time.Time { return now }}
	})
}
