package edge

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"path/filepath"
	"testing"

	"connect-proxy/listener"
	"connect-proxy/listener/listenertest"
)

func TestAnOpenConnectionGoesOnOverTheRenewalOfItsCertificate(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := certificate(t, dir, "edge.test")
	f := open(t, func(_ int, o Options) *Terminator {
		o.Hosts, o.Cert = []string{"edge.test"}, filepath.Join(dir, "tls.pem")
		o.Request = func(c net.Conn) listener.Request {
			return listener.Request{Conn: c, Serve: func(_ context.Context, c net.Conn) { _, _ = io.Copy(c, c) }}
		}
		return New(o)
	})
	connect := func() *tls.Conn {
		c, err := tls.Dial("tcp", f.Addr().String(), &tls.Config{ServerName: "edge.test", InsecureSkipVerify: true})
		if err != nil {
			return nil
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	var before, after *tls.Conn
	listenertest.Eventually(t, "the certificate is in use", func() bool { before = connect(); return before != nil })
	second := certificate(t, dir, "edge.test")
	shown := func(c *tls.Conn) []byte { return c.ConnectionState().PeerCertificates[0].Raw }
	listenertest.Eventually(t, "another is", func() bool {
		after = connect()
		return after != nil && string(shown(after)) != string(shown(before))
	})
	for when, c := range map[string]*tls.Conn{"before": before, "after": after} {
		b := make([]byte, 4)
		if _, err := io.WriteString(c, "ping"); err != nil {
			t.Error(err)
		}
		if _, err := io.ReadFull(c, b); err != nil || string(b) != "ping" {
			t.Errorf("a connection from %s: %q, %v", when, b, err)
		}
	}
	if first.Equal(second) {
		t.Error("the certificate is the same")
	}
}
