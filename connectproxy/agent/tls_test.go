package agent

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/go-hclog"

	"connect-proxy/config"
	"connect-proxy/connectproxy/agenttest"
)

// tlsAgent is an agent behind TLS that wants a certificate and answers with the
// name in it.
type tlsAgent struct {
	*httptest.Server
	config *tls.Config
}

func newTLSAgent(t *testing.T, by, clients *agenttest.Authority) *tlsAgent {
	t.Helper()
	a := &tlsAgent{}
	a.become(t, by, clients)
	a.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%q", r.TLS.PeerCertificates[0].Subject.CommonName)
	}))
	a.Server.TLS = &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return a.config, nil }}
	a.Server.Config.ErrorLog = hclog.NewNullLogger().StandardLogger(nil)
	a.StartTLS()
	t.Cleanup(a.Close)
	return a
}

// become gives new connections another certificate, and wants another.
func (a *tlsAgent) become(t *testing.T, by, clients *agenttest.Authority) {
	t.Helper()
	cert, key := by.Year(t, "agent")
	pair, err := tls.X509KeyPair([]byte(cert), []byte(key))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(clients.Cert)
	a.config = &tls.Config{Certificates: []tls.Certificate{pair}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert}
}

// with is the settings for an agent that is reached by these files.
func with(p agenttest.TLSPaths, address string) Options {
	return Options{Address: address, TLS: api.TLSConfig{CAFile: p.CA, CertFile: p.Cert, KeyFile: p.Key}}
}

// seenAs asks on a new connection, or one at rest, who the agent takes us for.
func seenAs(t *testing.T, c *Client, want string) {
	t.Helper()
	if got, err := c.Status().Leader(); err != nil || got != want {
		t.Fatalf("the agent takes us for %q, %v; want %q", got, err, want)
	}
}

func TestTheAgentIsReachedByTheFilesAsTheyAreNow(t *testing.T) {
	ca, clients := agenttest.NewAuthority(t, "first"), agenttest.NewAuthority(t, "clients")
	agent := newTLSAgent(t, ca, clients)
	paths := agenttest.NewTLSPaths(t, ca, clients, "one")
	for name, settings := range map[string]Options{
		"CA in a file":      with(paths, agent.URL),
		"CA in a directory": {Address: agent.URL, TLS: api.TLSConfig{CAPath: filepath.Dir(agenttest.WriteCA(t, ca)), CertFile: paths.Cert, KeyFile: paths.Key}},
	} {
		t.Run(name, func(t *testing.T) {
			agent.become(t, ca, clients)
			paths.Replace(t, clients, "one")
			c := clientOf(t, settings)
			seenAs(t, c, "one")

			// A new certificate leaves the connection alone.
			paths.Replace(t, clients, "two")
			seenAs(t, c, "one")
			c.transport.CloseIdleConnections()
			seenAs(t, c, "two")

			// Another CA on both sides.
			next, others := agenttest.NewAuthority(t, "next"), agenttest.NewAuthority(t, "others")
			agent.become(t, next, others)
			seenAs(t, c, "two")
			if settings.TLS.CAFile != "" {
				agenttest.WriteFile(t, settings.TLS.CAFile, ca.PEM+next.PEM)
			} else {
				agenttest.WriteFile(t, filepath.Join(settings.TLS.CAPath, "next.PEM"), next.PEM)
			}
			paths.Replace(t, others, "three")
			c.transport.CloseIdleConnections()
			seenAs(t, c, "three")

			// What is broken leaves the last good one in force.
			agenttest.WriteFile(t, paths.Key, "half a k")
			c.transport.CloseIdleConnections()
			seenAs(t, c, "three")
		})
	}
}

func TestADirectoryThatKubernetesFillsIsRead(t *testing.T) {
	ca := agenttest.NewAuthority(t, "ca")
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "..2026"), 0o700); err != nil {
		t.Fatal(err)
	}
	agenttest.WriteFile(t, filepath.Join(dir, "..2026", "ca.PEM"), ca.PEM)
	for name, to := range map[string]string{"..data": "..2026", "ca.PEM": filepath.Join("..data", "ca.PEM")} {
		agenttest.Symlink(t, to, filepath.Join(dir, name))
	}
	content, err := readCA("", dir)
	if err != nil || len(certificates(content)) != 1 {
		t.Errorf("%d certificates, %v", len(certificates(content)), err)
	}
}

// clocked is the TLS to an agent with a clock and a log of the test's own.
func clocked(t *testing.T, s Options, log io.Writer) (*agentTLS, *time.Time) {
	t.Helper()
	a, err := newAgentTLS(s.TLS, "localhost", hclog.New(&hclog.LoggerOptions{Output: log}))
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	a.now = func() time.Time { return now }
	return a, &now
}

func TestABrokenFileIsSaidOnceAndAHalfReplacedOneNotAtAll(t *testing.T) {
	ca := agenttest.NewAuthority(t, "ca")
	for name, spoil := range map[string]func(p agenttest.TLSPaths){
		"a key of another certificate": func(p agenttest.TLSPaths) { _, key := ca.Year(t, "x"); agenttest.WriteFile(t, p.Key, key) },
		"an empty CA":                  func(p agenttest.TLSPaths) { agenttest.WriteFile(t, p.CA, "") },
		"a missing certificate":        func(p agenttest.TLSPaths) { os.Remove(p.Cert) },
		"an expired certificate": func(p agenttest.TLSPaths) {
			cert, key := ca.Issue(t, "old", time.Now().Add(-48*time.Hour), time.Now().Add(-24*time.Hour))
			agenttest.WriteFile(t, p.Cert, cert)
			agenttest.WriteFile(t, p.Key, key)
		},
	} {
		t.Run(name, func(t *testing.T) {
			paths := agenttest.NewTLSPaths(t, ca, ca, "one")
			var log bytes.Buffer
			a, now := clocked(t, with(paths, "https://localhost:8501"), &log)
			before := a.reload()
			spoil(paths)
			a.reload()
			if log.Len() > 0 {
				t.Errorf("said at once: %s", &log)
			}
			if a.status("").Problem == "" {
				t.Error("/health does not say it")
			}
			for range 10 {
				*now = now.Add(filesCheck)
				if a.reload() != before {
					t.Fatal("what was good is not in force any more")
				}
			}
			if n := strings.Count(log.String(), "[WARN]"); n != 1 || !strings.Contains(log.String(), filepath.Dir(paths.CA)) {
				t.Errorf("said %d times:\n%s", n, &log)
			}
			agenttest.WriteFile(t, paths.CA, ca.PEM)
			paths.Replace(t, ca, "two")
			if a.reload() == before || a.status("").Problem != "" || !strings.Contains(log.String(), "read anew") {
				t.Errorf("mended files are not in force: %q\n%s", a.status("").Problem, &log)
			}
		})
	}
}

func TestTheEndOfACertificateIsForeseenDaysBefore(t *testing.T) {
	day := 24 * time.Hour
	end := time.Now().Add(30 * day)
	ca := agenttest.NewAuthority(t, "ca")
	paths := agenttest.NewTLSPaths(t, ca, ca, "one")
	cert, key := ca.Issue(t, "one", end.Add(-90*day), end)
	agenttest.WriteFile(t, paths.Cert, cert)
	agenttest.WriteFile(t, paths.Key, key)
	var log bytes.Buffer
	a, now := clocked(t, with(paths, "https://localhost:8501"), &log)
	for hours := range 24*30 + 10 {
		*now = end.Add(-30*day + time.Duration(hours)*time.Hour)
		a.warnOfExpiry()
		warned := len(a.status("").Warnings) > 0
		if left := end.Sub(*now); left > 7*day == warned {
			t.Fatalf("%s before the end: warned %t", left, warned)
		}
	}
	if n := strings.Count(log.String(), "[WARN]"); n < 7 || n > 8 {
		t.Errorf("warned %d times in seven days", n)
	}
	if n := strings.Count(log.String(), "[ERROR]"); n != 1 || !strings.Contains(log.String(), paths.Cert) {
		t.Errorf("said %d times that it is over:\n%s", n, &log)
	}
	if got := a.status("").ClientCertificateNotAfter; !got.Equal(end.Truncate(time.Second)) {
		t.Errorf("/health says %s, want %s", got, end)
	}
	paths.Replace(t, ca, "two")
	a.reload()
	if w := a.status("").Warnings; len(w) > 0 {
		t.Errorf("warned of a certificate that has been renewed: %q", w)
	}
}

func TestTheEndsOfTheCAAndOfTheAgentsCertificateAreForeseenToo(t *testing.T) {
	ca := agenttest.NewAuthorityUntil(t, "ca", time.Now().Add(5*24*time.Hour))
	paths := agenttest.NewTLSPaths(t, ca, ca, "one")
	agent := newTLSAgent(t, ca, ca)
	c := clientOf(t, with(paths, agent.URL))
	seenAs(t, c, "one")
	s := c.tls.status(agent.URL)
	text := strings.Join(s.Warnings, "\n")
	if len(s.Warnings) != 2 || !strings.Contains(text, paths.CA) || !strings.Contains(text, "of the agent itself") {
		t.Errorf("warnings: %q", s.Warnings)
	}

	// The agent has a new one by now: before anybody is warned it is looked at.
	later := time.Now().Add(time.Hour)
	c.tls.now = func() time.Time { return later }
	if text := strings.Join(c.tls.status("").Warnings, "\n"); strings.Contains(text, "agent itself") {
		t.Errorf("warned of what was seen an hour ago: %q", text)
	}
	long := agenttest.NewAuthority(t, "long")
	agent.become(t, long, ca)
	agenttest.WriteFile(t, paths.CA, ca.PEM+long.PEM)
	seenAs(t, c, "one") // the last request of the old connection
	seenAs(t, c, "one")
	if w := c.tls.status("").Warnings; len(w) > 0 {
		t.Errorf("warnings after the renewal: %q", w)
	}
}

func TestWhoIsToBlameForTLSThatFailsIsSaid(t *testing.T) {
	ca, other := agenttest.NewAuthority(t, "ca"), agenttest.NewAuthority(t, "other")
	agent := newTLSAgent(t, ca, ca)
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	for name, tc := range map[string]struct {
		settings Options
		want     string
	}{
		"a CA that is not the agent's":    {with(agenttest.NewTLSPaths(t, other, ca, "one"), agent.URL), "CONSUL_CACERT"},
		"a certificate that it refuses":   {with(agenttest.NewTLSPaths(t, ca, other, "one"), agent.URL), "CONSUL_CLIENT_CERT"},
		"another name":                    {Options{Address: agent.URL, TLS: api.TLSConfig{CAFile: agenttest.WriteCA(t, ca), Address: "elsewhere"}}, "CONSUL_TLS_SERVER_NAME"},
		"an agent without TLS":            {Options{Address: strings.Replace(plain.URL, "http:", "https:", 1)}, "CONSUL_HTTP_SSL"},
		"an agent that does not run":      {Options{Address: fmt.Sprintf("https://127.0.0.1:%d", agenttest.FreePort(t))}, "check that the agent runs"},
		"an agent that wants TLS, by TCP": {Options{Address: agent.Listener.Addr().String()}, "HTTP request to an HTTPS server"},
	} {
		t.Run(name, func(t *testing.T) {
			c := clientOf(t, tc.settings)
			problem := askOnce(t, config.NewAgent(config.AgentOptions{
				Client: c.Client, Address: tc.settings.Address, ProxyID: "web", Logger: hclog.NewNullLogger(),
			}))
			if !strings.Contains(problem, tc.want) {
				t.Errorf("problem: %q, want %q in it", problem, tc.want)
			}
		})
	}
}

func TestTheTLSFilesAreFollowedUntilTheEnd(t *testing.T) {
	ca := agenttest.NewAuthority(t, "ca")
	paths := agenttest.NewTLSPaths(t, ca, ca, "one")
	s := with(paths, "https://localhost:8501")
	a, err := newAgentTLS(s.TLS, "localhost", hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	c := &Client{settings: s, tls: a}
	ctx, cancel := context.WithCancel(t.Context())
	stop := c.FollowTLS(ctx)
	cancel() // it goes on through the drain
	before := a.status("").ClientCertificateNotAfter
	cert, key := ca.Issue(t, "two", time.Now().Add(-time.Hour), time.Now().Add(200*24*time.Hour))
	agenttest.WriteFile(t, paths.Cert, cert)
	agenttest.WriteFile(t, paths.Key, key)
	agenttest.Eventually(t, 3*filesCheck, func() error {
		if a.status("").ClientCertificateNotAfter.Equal(before) {
			return fmt.Errorf("the files are not read again")
		}
		return nil
	})
	stop()
}
