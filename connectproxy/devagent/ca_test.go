package devagent_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"connect-proxy/connectproxy/devagent"
)

func decode[T any](t *testing.T, s said) T {
	t.Helper()
	var v T
	if err := json.Unmarshal(s.body, &v); err != nil {
		t.Fatalf("%s: %v", s.body, err)
	}
	return v
}

func (a running) roots(t *testing.T) (api.CARootList, *x509.CertPool) {
	t.Helper()
	list := decode[api.CARootList](t, ask(t, a.url, "GET", "/v1/agent/connect/ca/roots", ""))
	pool := x509.NewCertPool()
	for _, r := range list.Roots {
		if !pool.AppendCertsFromPEM([]byte(r.RootCertPEM)) {
			t.Fatalf("no certificate: %s", r.RootCertPEM)
		}
	}
	return list, pool
}

func (a running) leaf(t *testing.T, service string) api.LeafCert {
	t.Helper()
	return decode[api.LeafCert](t, ask(t, a.url, "GET", "/v1/agent/connect/ca/leaf/"+url.PathEscape(service), ""))
}

// proves verifies a leaf as a peer with these roots would.
func proves(t *testing.T, l api.LeafCert, roots *x509.CertPool) {
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
	if _, err := pair.Leaf.Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}); err != nil {
		t.Error(err)
	}
	if got := pair.Leaf.URIs[0].String(); got != l.ServiceURI {
		t.Errorf("the certificate is for %s, not %s", got, l.ServiceURI)
	}
}

func TestALeafHasTheIdentityOfItsServiceUnderTheRoot(t *testing.T) {
	a := run(t, devagent.Options{Datacenter: "dc7"})
	list, pool := a.roots(t)
	l := a.leaf(t, "web")
	proves(t, l, pool)
	if want := "spiffe://" + list.TrustDomain + "/ns/default/dc/dc7/svc/web"; l.ServiceURI != want {
		t.Errorf("%s, want %s", l.ServiceURI, want)
	}
	if d := time.Until(l.ValidBefore); d < 71*time.Hour || d > 73*time.Hour {
		t.Errorf("it lives for %s", d)
	}
	if again := a.leaf(t, "web"); again.SerialNumber != l.SerialNumber {
		t.Error("another one each time")
	}
}

func TestARotationIsTrustedByWhoKnowsEitherRoot(t *testing.T) {
	a := run(t, devagent.Options{})
	before, old := a.roots(t)
	one := a.leaf(t, "web")
	if err := a.Rotate(); err != nil {
		t.Fatal(err)
	}
	after, both := a.roots(t)
	two := a.leaf(t, "web")
	if after.ActiveRootID == before.ActiveRootID || after.TrustDomain != before.TrustDomain || len(after.Roots) != 2 {
		t.Fatalf("%+v follows on %+v", after, before)
	}
	if two.SerialNumber == one.SerialNumber {
		t.Error("the leaf is the old one")
	}
	proves(t, two, old)
	proves(t, two, both)
	proves(t, one, both)
}

func TestRootsStayBoundedThroughRotations(t *testing.T) {
	a := run(t, devagent.Options{})
	for range 40 {
		if err := a.Rotate(); err != nil {
			t.Fatal(err)
		}
	}
	if list, _ := a.roots(t); len(list.Roots) != 16 {
		t.Errorf("%d roots", len(list.Roots))
	}
}

func TestTheCAIsRotatedByAnotherKeyAndNotByTheSame(t *testing.T) {
	a := run(t, devagent.Options{})
	key := strings.ReplaceAll(a.leaf(t, "any").PrivateKeyPEM, "\n", `\n`)
	put := func(body string) said { return ask(t, a.url, "PUT", "/v1/connect/ca/configuration", body) }
	for range 2 { // the second time it is the one in force
		if s := put(`{"Provider":"consul","Config":{"LeafCertTTL":"2h","PrivateKey":"` + key + `"}}`); s.status != 200 {
			t.Fatalf("%d %s", s.status, s.body)
		}
	}
	if list, _ := a.roots(t); len(list.Roots) != 2 {
		t.Errorf("%d roots", len(list.Roots))
	}
	if d := time.Until(a.leaf(t, "web").ValidBefore); d > 3*time.Hour {
		t.Errorf("a leaf lives for %s", d)
	}
	for _, bad := range []string{`{"Provider":"vault"}`, `{"Config":{"LeafCertTTL":"1s"}}`, `{"Config":{"PrivateKey":"x"}}`} {
		if s := put(bad); s.status != 400 {
			t.Errorf("%s: %d %s", bad, s.status, s.body)
		}
	}
}
