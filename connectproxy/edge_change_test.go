package connectproxy

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"connect-proxy/config"
	"connect-proxy/connectproxy/agenttest"
	"connect-proxy/connectproxy/agenttest/fakeagent"
	"connect-proxy/listener/listenertest"
)

func TestTheEdgeKeepsItsCertificateWhenItsSettingsChange(t *testing.T) {
	t.Parallel()
	port := agenttest.FreePort(t)
	certificate := listenertest.Issue(t, x509.Certificate{
		DNSNames: []string{"api.example.com", "www.example.com"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(1000 * time.Hour),
	}, nil)
	file := filepath.Join(t.TempDir(), "tls.pem")
	if err := os.WriteFile(file, []byte(certificate.PEM()+certificate.KeyPEM(t)), 0o600); err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(certificate.Certificate)
	visit := func(host string) error {
		d := &tls.Dialer{Config: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots, ServerName: host}}
		c, err := d.DialContext(t.Context(), "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err == nil {
			_ = c.Close()
		}
		return err
	}
	with := func(hosts ...string) config.Config {
		return config.Config{Mode: config.Flags, Service: "web", Edge: &config.Edge{
			Bind: tcp("127.0.0.1", port), Hosts: hosts, Allow: []string{"greeter"}, Cert: file,
		}}
	}
	e := startEngine(t, fakeagent.New(t, fakeagent.Options{}), with("api.example.com")).ready()
	agenttest.Eventually(t, soon, func() error { return visit("api.example.com") })
	// The file is away for a moment, as it is where it is replaced in two steps.
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	e.apply(with("www.example.com", "api.example.com"))
	for _, host := range []string{"www.example.com", "api.example.com"} {
		if err := visit(host); err != nil {
			t.Errorf("%s: %v", host, err)
		}
	}
}
