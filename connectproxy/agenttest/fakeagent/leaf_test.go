package fakeagent_test

import (
	"crypto/tls"
	"crypto/x509"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"connect-proxy/connectproxy/agenttest/fakeagent"
	"connect-proxy/connectproxy/agenttest/traffic"
)

func TestALeafIsValidUnderTheRootsAndRenewedByRotation(t *testing.T) {
	a := fakeagent.New(t, fakeagent.Options{})
	c := a.Client("")
	old := a.Pool()
	one, meta, err := c.Agent().ConnectCALeaf("Web", nil)
	if err != nil {
		t.Fatal(err)
	}
	verify(t, one, old)
	answered := pending(t, func(q *api.QueryOptions) (*api.LeafCert, *api.QueryMeta, error) {
		return c.Agent().ConnectCALeaf("Web", q)
	}, api.QueryOptions{WaitIndex: meta.LastIndex})
	held(t, a, traffic.Leaf, 1)
	a.Rotate(fakeagent.Rotation{TrustDomain: "new", CrossSign: true})
	two := receive(t, answered)
	if two.ServiceURI == one.ServiceURI {
		t.Fatalf("the trust domain is still that of %s", two.ServiceURI)
	}
	verify(t, two, a.Pool())
	verify(t, two, old)
	verify(t, one, a.Pool())
}

func verify(t *testing.T, l *api.LeafCert, roots *x509.CertPool) {
	t.Helper()
	pair, err := tls.X509KeyPair([]byte(l.CertPEM), []byte(l.PrivateKeyPEM))
	if err != nil {
		t.Fatal(err)
	}
	between := x509.NewCertPool()
	for _, der := range pair.Certificate[1:] {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		between.AddCert(cert)
	}
	_, err = pair.Leaf.Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := pair.Leaf.URIs[0].String(); got != l.ServiceURI {
		t.Fatalf("URI %s, not %s", got, l.ServiceURI)
	}
}

func TestALeafIsRenewedBeforeItsEnd(t *testing.T) {
	a := fakeagent.New(t, fakeagent.Options{})
	a.SetLeafTTL(300 * time.Millisecond)
	c := a.Client("")
	one, meta, err := c.Agent().ConnectCALeaf("web", nil)
	if err != nil {
		t.Fatal(err)
	}
	two, _, err := c.Agent().ConnectCALeaf("web", &api.QueryOptions{WaitIndex: meta.LastIndex, WaitTime: time.Minute})
	if err != nil || two.SerialNumber == one.SerialNumber {
		t.Fatalf("serial %s after %s, %v", two.SerialNumber, one.SerialNumber, err)
	}
}

func TestAStuckLeafQueryLastsAsLongAsItsWait(t *testing.T) {
	a := fakeagent.New(t, fakeagent.Options{})
	a.StickLeafs(true, true)
	c := a.Client("")
	_, meta, err := c.Agent().ConnectCALeaf("web", &api.QueryOptions{WaitTime: 30 * time.Millisecond})
	if err != nil || meta.RequestTime < 30*time.Millisecond {
		t.Fatalf("answered in %s, %v", meta.RequestTime, err)
	}
	a.RenewLeaf("web")
	_, meta, err = c.Agent().ConnectCALeaf("web", &api.QueryOptions{WaitIndex: meta.LastIndex, WaitTime: 30 * time.Millisecond})
	if err != nil || meta.RequestTime < 30*time.Millisecond {
		t.Fatalf("answered in %s, %v", meta.RequestTime, err)
	}
}

func TestAPinnedLeafMayHaveExpired(t *testing.T) {
	a := fakeagent.New(t, fakeagent.Options{})
	end := time.Now().Add(-time.Minute).Truncate(time.Second)
	a.PinLeaf("web", end.Add(-time.Hour), end)
	l, _, err := a.Client("").Agent().ConnectCALeaf("web", nil)
	if err != nil || !l.ValidBefore.Equal(end) {
		t.Fatalf("valid before %s, %v", l.ValidBefore, err)
	}
}
