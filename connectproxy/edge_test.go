package connectproxy

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"connect-proxy/config"
	"connect-proxy/connectproxy/agenttest"
	"connect-proxy/connectproxy/agenttest/fakeagent"
	"connect-proxy/listener/listenertest"
)

func TestStrangersReachTheServicesThatTheEdgeAllows(t *testing.T) {
	t.Parallel()
	agent := fakeagent.New(t, fakeagent.Options{})
	port := agenttest.FreePorts(t, 3)
	for i, name := range []string{"greeter", "secret"} {
		app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, name) }))
		t.Cleanup(app.Close)
		startEngine(t, agent, serving(name, port+i, app.Listener.Addr().String())).ready()
		agent.Instance(name, port+i)
	}
	dir := t.TempDir()
	certificate := listenertest.Issue(t, x509.Certificate{
		DNSNames: []string{"api.example.com"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(1000 * time.Hour),
	}, nil)
	file := filepath.Join(dir, "tls.pem")
	roots := x509.NewCertPool()
	roots.AddCert(certificate.Certificate)
	e := startEngine(t, agent, config.Config{Mode: config.Flags, Service: "web", Edge: &config.Edge{
		Bind: tcp("127.0.0.1", port+2), Hosts: []string{"api.example.com"}, Allow: []string{"greeter"}, Cert: file, Namespace: "-",
		Handler: config.MicroProxy,
	}}).ready()
	warned := func(text string) bool {
		return slices.ContainsFunc(e.Status().Warnings, func(w string) bool { return strings.Contains(w, text) })
	}
	listenertest.Within(t, soon, "it is said that there is no certificate", func() bool { return warned("edge: no certificate: ") && warned("tls.pem") })
	if s := e.Status(); !s.Ready || len((adminSource{e.Proxy}).Proxy().Warnings) != 1 {
		t.Errorf("ready %t, warnings %q", s.Ready, s.Warnings)
	}
	if err := os.WriteFile(file, []byte(certificate.PEM()+certificate.KeyPEM(t)), 0o600); err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Timeout: soon, Transport: &http.Transport{
		DisableKeepAlives: true,
		TLSClientConfig:   &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port+2)))
		},
	}}
	get := func(url string) (int, string) {
		r, err := client.Get(url)
		if err != nil {
			return 0, err.Error()
		}
		defer func() { _ = r.Body.Close() }()
		b, _ := io.ReadAll(r.Body)
		return r.StatusCode, string(b)
	}
	listenertest.Within(t, soon, "the service is reached", func() bool {
		status, answer := get("https://api.example.com/greeter/x")
		return status == 200 && answer == "greeter"
	})
	if status, answer := get("https://api.example.com/secret/x"); status != 404 {
		t.Errorf("what is not allowed: %d %s", status, answer)
	}
	if status, answer := get("https://other.example.com/greeter/x"); status != 0 || !strings.Contains(answer, "unrecognized name") {
		t.Errorf("another name: %d %s", status, answer)
	}
	if w := e.Status().Warnings; len(w) != 0 {
		t.Errorf("afterwards %q", w)
	}
	if l := (adminSource{e.Proxy}).Proxy().Listeners; len(l) != 1 || l[0].Name != "edge" {
		t.Errorf("%+v", l)
	}
}

func TestAStrangerIsToServicesWhoTheEdgeSays(t *testing.T) {
	t.Parallel()
	agent := fakeagent.New(t, fakeagent.Options{})
	port := agenttest.FreePorts(t, 2)
	seen := make(chan http.Header, 1)
	app := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case seen <- r.Header:
		default: // an earlier one is there
		}
	}))
	t.Cleanup(app.Close)
	startEngine(t, agent, serving("greeter", port, app.Listener.Addr().String())).ready()
	agent.Instance("greeter", port)
	certificate := listenertest.Issue(t, x509.Certificate{
		DNSNames: []string{"api.example.com"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(1000 * time.Hour),
	}, nil)
	file := filepath.Join(t.TempDir(), "tls.pem")
	if err := os.WriteFile(file, []byte(certificate.PEM()+certificate.KeyPEM(t)), 0o600); err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(certificate.Certificate)
	startEngine(t, agent, config.Config{Mode: config.Flags, Service: "web", Edge: &config.Edge{
		Bind: tcp("127.0.0.1", port+1), Hosts: []string{"api.example.com"}, Allow: []string{"greeter"}, Cert: file, Namespace: "-",
		Handler: config.MicroProxy, RemoveHeaders: []string{"X-Acme-*"},
	}}).ready()
	// The names go over the wire as they stand here.
	const request = "GET /greeter/x HTTP/1.1\r\nHost: api.example.com\r\nRemote-User: lie\r\nRemote_User: lie\r\nX-Webauth-User: lie\r\n" +
		"X-Auth-Request-Groups: lie\r\nx-amzn-oidc-identity: lie\r\nX-Client-Verify: lie\r\nX_Forwarded_For: lie\r\nX-Forwarded-For: lie\r\n" +
		"Wl-Proxy-Client-Ip: lie\r\nCf-Connecting-Ip: lie\r\nScript_Name: lie\r\nX-Acme-Role: lie\r\nX_ACME_ROLE: lie\r\nAuthorization: mine\r\n\r\n"
	var h http.Header
	listenertest.Within(t, soon, "the service is reached", func() bool {
		c, err := (&tls.Dialer{Config: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots, ServerName: "api.example.com"}}).DialContext(
			t.Context(), "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port+1)))
		if err != nil {
			return false
		}
		defer func() { _ = c.Close() }()
		if _, err := io.WriteString(c, request); err != nil {
			return false
		}
		select {
		case h = <-seen:
			return true
		case <-time.After(time.Second):
			return false
		}
	})
	for k, v := range h {
		if slices.Contains(v, "lie") {
			t.Errorf("%s has arrived", k)
		}
	}
	if h.Get("Authorization") != "mine" || h.Get("X-Forwarded-For") != "127.0.0.1" || h.Get("X-Forwarded-Proto") != "https" {
		t.Errorf("%v", h)
	}
}
