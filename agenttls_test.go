package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"connect-proxy/config"
	"connect-proxy/connectproxy/agenttest"
)

// authority issues the certificates of agents and their clients.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  string
}

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	return newAuthorityUntil(t, name, time.Now().Add(365*24*time.Hour))
}

func newAuthorityUntil(t *testing.T, name string, end time.Time) *authority {
	t.Helper()
	key := newKey(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: end.Add(-366 * 24 * time.Hour), NotAfter: end,
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	cert, text := sign(t, template, template, key, key)
	return &authority{cert: cert, key: key, pem: text}
}

// issue gives certificate and key, as PEM, of a machine and of a client alike.
func (a *authority) issue(t *testing.T, name string, notBefore, notAfter time.Time) (cert, key string) {
	t.Helper()
	k := newKey(t)
	_, cert = sign(t, &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: notBefore, NotAfter: notAfter,
		DNSNames: []string{"localhost", "server.dc1.consul"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, a.cert, k, a.key)
	der, err := x509.MarshalECPrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return cert, string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}))
}

// year issues a certificate that is far from its end.
func (a *authority) year(t *testing.T, name string) (cert, key string) {
	t.Helper()
	return a.issue(t, name, time.Now().Add(-time.Hour), time.Now().Add(300*24*time.Hour))
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func sign(t *testing.T, template, parent *x509.Certificate, key, by *ecdsa.PrivateKey) (*x509.Certificate, string) {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, by)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// tlsAgent is an agent behind TLS that wants a certificate and answers with the
// name in it.
type tlsAgent struct {
	*httptest.Server
	config *tls.Config
}

func newTLSAgent(t *testing.T, by, clients *authority) *tlsAgent {
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
func (a *tlsAgent) become(t *testing.T, by, clients *authority) {
	t.Helper()
	cert, key := by.year(t, "agent")
	pair, err := tls.X509KeyPair([]byte(cert), []byte(key))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(clients.cert)
	a.config = &tls.Config{Certificates: []tls.Certificate{pair}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert}
}

// tlsPaths are the files of a client.
type tlsPaths struct{ ca, cert, key string }

func newTLSPaths(t *testing.T, ca, clients *authority, name string) tlsPaths {
	t.Helper()
	dir := t.TempDir()
	p := tlsPaths{ca: filepath.Join(dir, "ca.pem"), cert: filepath.Join(dir, "cert.pem"), key: filepath.Join(dir, "key.pem")}
	write(t, p.ca, ca.pem)
	p.replace(t, clients, name)
	return p
}

// replace has another certificate and key in the files.
func (p tlsPaths) replace(t *testing.T, clients *authority, name string) {
	t.Helper()
	cert, key := clients.year(t, name)
	write(t, p.cert, cert)
	write(t, p.key, key)
}

func (p tlsPaths) flags(address string) agentFlags {
	return agentFlags{httpAddr: address, caFile: p.ca, clientCert: p.cert, clientKey: p.key}
}

// seenAs asks on a new connection, or one at rest, who the agent takes us for.
func seenAs(t *testing.T, c agentClient, want string) {
	t.Helper()
	if got, err := c.Status().Leader(); err != nil || got != want {
		t.Fatalf("the agent takes us for %q, %v; want %q", got, err, want)
	}
}

func TestTheAgentIsReachedByTheFilesAsTheyAreNow(t *testing.T) {
	ca, clients := newAuthority(t, "first"), newAuthority(t, "clients")
	agent := newTLSAgent(t, ca, clients)
	paths := newTLSPaths(t, ca, clients, "one")
	for name, flags := range map[string]agentFlags{
		"CA in a file":      paths.flags(agent.URL),
		"CA in a directory": {httpAddr: agent.URL, caPath: filepath.Dir(writeCA(t, ca)), clientCert: paths.cert, clientKey: paths.key},
	} {
		t.Run(name, func(t *testing.T) {
			agent.become(t, ca, clients)
			paths.replace(t, clients, "one")
			c := clientOf(t, flags, nil)
			seenAs(t, c, "one")

			// A new certificate leaves the connection alone.
			paths.replace(t, clients, "two")
			seenAs(t, c, "one")
			c.transport.CloseIdleConnections()
			seenAs(t, c, "two")

			// Another CA on both sides.
			next, others := newAuthority(t, "next"), newAuthority(t, "others")
			agent.become(t, next, others)
			seenAs(t, c, "two")
			if flags.caFile != "" {
				write(t, flags.caFile, ca.pem+next.pem)
			} else {
				write(t, filepath.Join(flags.caPath, "next.pem"), next.pem)
			}
			paths.replace(t, others, "three")
			c.transport.CloseIdleConnections()
			seenAs(t, c, "three")

			// What is broken leaves the last good one in force.
			write(t, paths.key, "half a k")
			c.transport.CloseIdleConnections()
			seenAs(t, c, "three")
		})
	}
}

func writeCA(t *testing.T, ca *authority) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "ca.pem")
	write(t, file, ca.pem)
	return file
}

func TestADirectoryThatKubernetesFillsIsRead(t *testing.T) {
	ca := newAuthority(t, "ca")
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "..2026"), 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "..2026", "ca.pem"), ca.pem)
	for name, to := range map[string]string{"..data": "..2026", "ca.pem": filepath.Join("..data", "ca.pem")} {
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			t.Skipf("no links here: %v", err)
		}
	}
	content, err := readCA("", dir)
	if err != nil || len(certificates(content)) != 1 {
		t.Errorf("%d certificates, %v", len(certificates(content)), err)
	}
}

// clocked is the TLS to an agent with a clock and a log of the test's own.
func clocked(t *testing.T, flags agentFlags, log io.Writer) (*agentTLS, *time.Time) {
	t.Helper()
	s, _ := flags.settings(fakeEnviron(nil))
	logger, _ := newLogger("info", false, log)
	a, err := newAgentTLS(s.tls, "localhost", logger)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	a.now = func() time.Time { return now }
	return a, &now
}

func TestABrokenFileIsSaidOnceAndAHalfReplacedOneNotAtAll(t *testing.T) {
	ca := newAuthority(t, "ca")
	for name, spoil := range map[string]func(p tlsPaths){
		"a key of another certificate": func(p tlsPaths) { _, key := ca.year(t, "x"); write(t, p.key, key) },
		"an empty CA":                  func(p tlsPaths) { write(t, p.ca, "") },
		"a missing certificate":        func(p tlsPaths) { os.Remove(p.cert) },
		"an expired certificate": func(p tlsPaths) {
			cert, key := ca.issue(t, "old", time.Now().Add(-48*time.Hour), time.Now().Add(-24*time.Hour))
			write(t, p.cert, cert)
			write(t, p.key, key)
		},
	} {
		t.Run(name, func(t *testing.T) {
			paths := newTLSPaths(t, ca, ca, "one")
			var log bytes.Buffer
			a, now := clocked(t, paths.flags("https://localhost:8501"), &log)
			before := a.look()
			spoil(paths)
			a.look()
			if log.Len() > 0 {
				t.Errorf("said at once: %s", &log)
			}
			if a.status("").Problem == "" {
				t.Error("/health does not say it")
			}
			for range 10 {
				*now = now.Add(filesCheck)
				if a.look() != before {
					t.Fatal("what was good is not in force any more")
				}
			}
			if n := strings.Count(log.String(), "[WARN]"); n != 1 || !strings.Contains(log.String(), filepath.Dir(paths.ca)) {
				t.Errorf("said %d times:\n%s", n, &log)
			}
			write(t, paths.ca, ca.pem)
			paths.replace(t, ca, "two")
			if a.look() == before || a.status("").Problem != "" || !strings.Contains(log.String(), "read anew") {
				t.Errorf("mended files are not in force: %q\n%s", a.status("").Problem, &log)
			}
		})
	}
}

func TestTheEndOfACertificateIsForeseenDaysBefore(t *testing.T) {
	day := 24 * time.Hour
	end := time.Now().Add(30 * day)
	ca := newAuthority(t, "ca")
	paths := newTLSPaths(t, ca, ca, "one")
	cert, key := ca.issue(t, "one", end.Add(-90*day), end)
	write(t, paths.cert, cert)
	write(t, paths.key, key)
	var log bytes.Buffer
	a, now := clocked(t, paths.flags("https://localhost:8501"), &log)
	for hours := range 24*30 + 10 {
		*now = end.Add(-30*day + time.Duration(hours)*time.Hour)
		a.foresee()
		warned := len(a.status("").Warnings) > 0
		if left := end.Sub(*now); left > 7*day == warned {
			t.Fatalf("%s before the end: warned %t", left, warned)
		}
	}
	if n := strings.Count(log.String(), "[WARN]"); n < 7 || n > 8 {
		t.Errorf("warned %d times in seven days", n)
	}
	if n := strings.Count(log.String(), "[ERROR]"); n != 1 || !strings.Contains(log.String(), paths.cert) {
		t.Errorf("said %d times that it is over:\n%s", n, &log)
	}
	if got := a.status("").ClientCertificateNotAfter; !got.Equal(end.Truncate(time.Second)) {
		t.Errorf("/health says %s, want %s", got, end)
	}
	paths.replace(t, ca, "two")
	a.look()
	if w := a.status("").Warnings; len(w) > 0 {
		t.Errorf("warned of a certificate that has been renewed: %q", w)
	}
}

func TestTheEndsOfTheCAAndOfTheAgentsCertificateAreForeseenToo(t *testing.T) {
	ca := newAuthorityUntil(t, "ca", time.Now().Add(5*24*time.Hour))
	paths := newTLSPaths(t, ca, ca, "one")
	agent := newTLSAgent(t, ca, ca)
	c := clientOf(t, paths.flags(agent.URL), nil)
	seenAs(t, c, "one")
	s := c.tls.status(agent.URL)
	text := strings.Join(s.Warnings, "\n")
	if len(s.Warnings) != 2 || !strings.Contains(text, paths.ca) || !strings.Contains(text, "of the agent itself") {
		t.Errorf("warnings: %q", s.Warnings)
	}

	// The agent has a new one by now: before anybody is warned it is looked at.
	later := time.Now().Add(time.Hour)
	c.tls.now = func() time.Time { return later }
	if text := strings.Join(c.tls.status("").Warnings, "\n"); strings.Contains(text, "agent itself") {
		t.Errorf("warned of what was seen an hour ago: %q", text)
	}
	long := newAuthority(t, "long")
	agent.become(t, long, ca)
	write(t, paths.ca, ca.pem+long.pem)
	seenAs(t, c, "one") // the last request of the old connection
	seenAs(t, c, "one")
	if w := c.tls.status("").Warnings; len(w) > 0 {
		t.Errorf("warnings after the renewal: %q", w)
	}
}

func TestWhoIsToBlameForTLSThatFailsIsSaid(t *testing.T) {
	ca, other := newAuthority(t, "ca"), newAuthority(t, "other")
	agent := newTLSAgent(t, ca, ca)
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	for name, tc := range map[string]struct {
		flags agentFlags
		want  string
	}{
		"a CA that is not the agent's":    {newTLSPaths(t, other, ca, "one").flags(agent.URL), "CONSUL_CACERT"},
		"a certificate that it refuses":   {newTLSPaths(t, ca, other, "one").flags(agent.URL), "CONSUL_CLIENT_CERT"},
		"another name":                    {agentFlags{httpAddr: agent.URL, caFile: writeCA(t, ca), tlsServerName: "elsewhere"}, "CONSUL_TLS_SERVER_NAME"},
		"an agent without TLS":            {agentFlags{httpAddr: strings.Replace(plain.URL, "http:", "https:", 1)}, "CONSUL_HTTP_SSL"},
		"an agent that does not run":      {agentFlags{httpAddr: fmt.Sprintf("https://127.0.0.1:%d", agenttest.FreePort(t))}, "check that the agent runs"},
		"an agent that wants TLS, by TCP": {agentFlags{httpAddr: agent.Listener.Addr().String()}, "HTTP request to an HTTPS server"},
	} {
		t.Run(name, func(t *testing.T) {
			c := clientOf(t, tc.flags, nil)
			problem := askOnce(t, config.NewAgent(config.AgentOptions{
				Client: c.Client, Address: tc.flags.httpAddr, ProxyID: "web", Logger: hclog.NewNullLogger(),
			}))
			if !strings.Contains(problem, tc.want) {
				t.Errorf("problem: %q, want %q in it", problem, tc.want)
			}
		})
	}
}

func TestTheTLSFilesAreFollowedUntilTheEnd(t *testing.T) {
	ca := newAuthority(t, "ca")
	paths := newTLSPaths(t, ca, ca, "one")
	flags := paths.flags("https://localhost:8501")
	s, _ := flags.settings(fakeEnviron(nil))
	a, err := newAgentTLS(s.tls, "localhost", hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	c := agentClient{tls: a}
	ctx, cancel := context.WithCancel(t.Context())
	stop := c.watchTLS(ctx, s)
	cancel() // it goes on through the drain
	before := a.status("").ClientCertificateNotAfter
	cert, key := ca.issue(t, "two", time.Now().Add(-time.Hour), time.Now().Add(200*24*time.Hour))
	write(t, paths.cert, cert)
	write(t, paths.key, key)
	agenttest.Eventually(t, 3*filesCheck, func() error {
		if a.status("").ClientCertificateNotAfter.Equal(before) {
			return fmt.Errorf("the files are not read again")
		}
		return nil
	})
	stop()
}
