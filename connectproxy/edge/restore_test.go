package edge

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"path/filepath"
	"testing"
	"time"

	"connect-proxy/config"
	"connect-proxy/listener/listenertest"
)

// silentCA accepts connections and says nothing. What is kept of it are certificates for
// hosts.
func silentCA(t *testing.T, hosts ...string) config.ACME {
	t.Helper()
	ca := listenertest.NewServer(t, func(c *net.TCPConn) { _, _ = io.Copy(io.Discard, c) })
	acme := config.ACME{CacheDir: filepath.Join(t.TempDir(), "acme"), DirectoryURL: "https://" + ca.Addr() + "/dir"}
	kept := newCache(acme.CacheDir, acme.DirectoryURL)
	if err := kept.check(); err != nil {
		t.Fatal(err)
	}
	for _, host := range hosts {
		c := listenertest.Issue(t, x509.Certificate{DNSNames: []string{host}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(1000 * time.Hour)}, nil)
		if err := kept.put(host, []byte(c.KeyPEM(t)+c.PEM())); err != nil {
			t.Fatal(err)
		}
	}
	return acme
}

func has(e *Terminator, host string) bool {
	c, err := e.certificates.get(host, &tls.ClientHelloInfo{})
	return err == nil && c != nil
}

func TestAHostWithoutACertificateDoesNotKeepBackThatOfAnother(t *testing.T) {
	t.Parallel()
	for _, hosts := range [][]string{{"old.test", "new.test"}, {"new.test", "old.test"}} {
		e := New(Options{Hosts: hosts, ACME: silentCA(t, "old.test")})
		listenertest.Run(t, e.Run)
		listenertest.Within(t, 15*time.Second, "what is kept of old.test is in use", func() bool { return has(e, "old.test") })
	}
}
