package identity

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"net/url"
	"runtime"
	"strings"
	"testing"
	"time"
	"weak"

	"connect-proxy/listener/listenertest"
)

// issuer is a certificate authority whose every certificate a test writes.
type issuer struct {
	t    testing.TB
	cert *x509.Certificate
	*listenertest.Certificate
}

// newIssuer makes an authority from template, self-signed where parent is nil.
func newIssuer(t testing.TB, template x509.Certificate, parent *issuer) *issuer {
	t.Helper()
	template.IsCA, template.BasicConstraintsValid, template.KeyUsage = true, true, x509.KeyUsageCertSign
	var by *listenertest.Certificate
	if parent != nil {
		by = parent.Certificate
	}
	c := listenertest.Issue(t, template, by)
	return &issuer{t: t, cert: c.Certificate, Certificate: c}
}

// crossSign has old sign i's name and key.
func (i *issuer) crossSign(old *issuer) *x509.Certificate {
	i.t.Helper()
	template := *i.cert
	template.AuthorityKeyId = nil
	return listenertest.IssueFor(i.t, template, old.Certificate, i.Key).Certificate
}

// leaf issues a certificate for the URIs.
func (i *issuer) leaf(template x509.Certificate, uris ...string) *x509.Certificate {
	i.t.Helper()
	for _, s := range uris {
		u, err := url.Parse(s)
		if err != nil {
			i.t.Fatal(err)
		}
		template.URIs = append(template.URIs, u)
	}
	if template.ExtKeyUsage == nil {
		template.ExtKeyUsage = []x509.ExtKeyUsage{clientAuth, serverAuth}
	}
	return listenertest.Issue(i.t, template, i.Certificate).Certificate
}

// lasting is a template's validity.
func lasting(from, until time.Time) x509.Certificate {
	return x509.Certificate{NotBefore: from, NotAfter: until}
}

func called(cn string, c x509.Certificate) x509.Certificate {
	c.Subject = pkix.Name{CommonName: cn}
	return c
}

func trusting(now func() time.Time, roots ...*issuer) *verifier {
	pool := x509.NewCertPool()
	var newest time.Time
	for _, r := range roots {
		pool.AddCert(r.cert)
		if r.cert.NotBefore.After(newest) {
			newest = r.cert.NotBefore
		}
	}
	return newVerifier(pool, []string{"mesh.consul"}, newest, now)
}

func TestAPeerMustProveExactlyOneServiceOfATrustDomainOfOurs(t *testing.T) {
	now := time.Now()
	day := lasting(now.Add(-time.Hour), now.Add(23*time.Hour))
	ca := newIssuer(t, called("ours", day), nil)
	foreign := newIssuer(t, called("ours", day), nil)
	const web = "spiffe://mesh.consul/ns/default/dc/dc1/svc/web"
	serverOnly := day
	serverOnly.ExtKeyUsage = []x509.ExtKeyUsage{serverAuth}
	authority := day
	authority.IsCA, authority.BasicConstraintsValid = true, true
	for _, c := range []struct {
		name string
		cert *x509.Certificate
		want string // in the error; empty: accepted
	}{
		{"a service", ca.leaf(day, web), ""},
		{"a service in upper case trust domain", ca.leaf(day, strings.Replace(web, "mesh", "MESH", 1)), ""},
		{"another authority of the same name", foreign.leaf(day, web), "unknown authority"},
		{"expired", ca.leaf(lasting(now.Add(-time.Hour), now.Add(-time.Second)), web), "expired"},
		{"of the near future", ca.leaf(lasting(now.Add(4*time.Minute), now.Add(time.Hour)), web), ""},
		{"of the future", ca.leaf(lasting(now.Add(6*time.Minute), now.Add(time.Hour)), web), "is not valid before"},
		{"no URI", ca.leaf(day), "0 URIs"},
		{"two URIs", ca.leaf(day, web, web), "2 URIs"},
		{"another trust domain", ca.leaf(day, "spiffe://other.consul/ns/default/dc/dc1/svc/web"), "trust domain without a root"},
		{"an agent", ca.leaf(day, "spiffe://mesh.consul/agent/client/dc/dc1/id/n1"), "not a service's"},
		{"a signing certificate", ca.leaf(day, "spiffe://mesh.consul"), "not a service's"},
		{"another scheme", ca.leaf(day, "https://mesh.consul/ns/default/dc/dc1/svc/web"), "spiffe"},
		{"a path beyond the service", ca.leaf(day, web+"/x"), "not in the expected format"},
		{"a query", ca.leaf(day, web+"?x=1"), "no SPIFFE ID"},
		{"a user", ca.leaf(day, "spiffe://me@mesh.consul/ns/default/dc/dc1/svc/web"), "no SPIFFE ID"},
		{"for servers only", ca.leaf(serverOnly, web), "incompatible key usage"},
		{"an authority itself", ca.leaf(authority, web), "certificate authority"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, err := trusting(time.Now, ca).verify([]*x509.Certificate{c.cert}, clientAuth)
			switch {
			case c.want == "" && err != nil:
				t.Errorf("refused: %v", err)
			case c.want == "" && p.uri != web:
				t.Errorf("taken for %s", p.uri)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
	if _, err := trusting(time.Now, ca).verify(nil, clientAuth); err == nil {
		t.Error("no certificate was accepted")
	}
}

func TestAVerifiedCertificateIsNotVerifiedAgainAndExpiresAllTheSame(t *testing.T) {
	clock := time.Now()
	now := func() time.Time { return clock }
	ca := newIssuer(t, called("ours", lasting(clock.Add(-time.Hour), clock.Add(24*time.Hour))), nil)
	chain := []*x509.Certificate{ca.leaf(lasting(clock.Add(-time.Hour), clock.Add(time.Hour)), "spiffe://mesh.consul/ns/default/dc/dc1/svc/web")}
	v := trusting(now, ca)
	first, err := v.verify(chain, clientAuth)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := v.verify(chain, clientAuth); again != first || err != nil {
		t.Errorf("verified anew, %v", err)
	}
	if other, err := v.verify(chain, serverAuth); other == first || err != nil {
		t.Errorf("a client's verification served for a server's, %v", err)
	}
	clock = clock.Add(time.Hour + time.Second)
	if _, err := v.verify(chain, clientAuth); err == nil {
		t.Error("an expired certificate was accepted from memory")
	}
}

func TestARememberedVerificationDependsOnTheWholeChain(t *testing.T) {
	now := time.Now()
	day := lasting(now.Add(-time.Hour), now.Add(23*time.Hour))
	before, after := newIssuer(t, called("before", day), nil), newIssuer(t, called("after", day), nil)
	cross := after.crossSign(before)
	leaf := after.leaf(day, "spiffe://mesh.consul/ns/default/dc/dc1/svc/web")
	v := trusting(time.Now, before)
	if _, err := v.verify([]*x509.Certificate{leaf, cross}, serverAuth); err != nil {
		t.Errorf("a cross-signed chain: %v", err)
	}
	if _, err := v.verify([]*x509.Certificate{leaf}, serverAuth); err == nil {
		t.Error("a leaf without its chain was accepted from memory")
	}
}

func TestAClockThatIsLateAcceptsARootMadeThisMoment(t *testing.T) {
	now := time.Now()
	ca := newIssuer(t, called("new", lasting(now, now.Add(24*time.Hour))), nil)
	leaf := ca.leaf(lasting(now.Add(-time.Minute), now.Add(time.Hour)), "spiffe://mesh.consul/ns/default/dc/dc1/svc/web")
	late := func() time.Time { return now.Add(-10 * time.Second) }
	if _, err := trusting(late, ca).verify([]*x509.Certificate{leaf}, clientAuth); err != nil {
		t.Errorf("refused: %v", err)
	}
}

func TestRootsVouchForTheTrustDomainsTheAgentGivesThem(t *testing.T) {
	was, is := listenertest.NewCAFor(t, "was.consul"), listenertest.NewCAFor(t, "is.consul")
	own := listenertest.NewCAFor(t, "corporate.example")
	r, err := parseRoots(rootsAnswer{ActiveRootID: "b", TrustDomain: "IS.consul", Roots: []rootAnswer{
		{ID: "a", RootCert: was.CertPEM, ExternalTrustDomain: "was"},
		{ID: "b", RootCert: is.CertPEM, Active: true},
		{ID: "c", RootCert: own.CertPEM, ExternalTrustDomain: "is"},
	}}, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(r.verifier.domains, " "); got != "is.consul was.consul" {
		t.Errorf("trust domains %s", got)
	}
	if r.trustDomain != "is.consul" {
		t.Errorf("active trust domain %s", r.trustDomain)
	}
	for name, ca := range map[string]*listenertest.CA{"the active root": is, "the one before": was} {
		leaf := ca.Leaf(t, "web")
		if _, err := r.verifier.verify([]*x509.Certificate{leaf.Certificate.Leaf}, clientAuth); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := r.verifier.verify([]*x509.Certificate{own.Leaf(t, "web").Certificate.Leaf}, clientAuth); err == nil {
		t.Error("a leaf of another trust domain under our root was accepted")
	}
}

func TestAnAnswerWithoutRootsIsRefused(t *testing.T) {
	ca := listenertest.NewCA(t)
	for name, a := range map[string]rootsAnswer{
		"no trust domain": {Roots: []rootAnswer{{RootCert: ca.CertPEM}}},
		"no root":         {TrustDomain: "mesh.consul"},
		"no certificate":  {TrustDomain: "mesh.consul", Roots: []rootAnswer{{ID: "x", RootCert: "rubbish"}}},
	} {
		if _, err := parseRoots(a, time.Now); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// Whoever presents a certificate decides how large it is, and errors may be kept.
func TestARejectionHoldsNothingOfWhatThePeerPresented(t *testing.T) {
	now := time.Now()
	day := lasting(now.Add(-time.Hour), now.Add(23*time.Hour))
	ca := newIssuer(t, called("ours", day), nil)
	foreign := newIssuer(t, called("ours", day), nil)
	v := trusting(time.Now, ca)
	long := strings.Repeat("x", 100<<10)
	web := "spiffe://mesh.consul/ns/default/dc/dc1/svc/web"
	for name, presented := range map[string]func() *x509.Certificate{
		"a foreign authority":         func() *x509.Certificate { return foreign.leaf(day, web) },
		"expired":                     func() *x509.Certificate { return ca.leaf(lasting(now.Add(-2*time.Hour), now.Add(-time.Hour)), web) },
		"expired, with a long name":   func() *x509.Certificate { return foreign.leaf(lasting(now, now), web+long) },
		"a long name of another mesh": func() *x509.Certificate { return foreign.leaf(day, strings.Replace(web, "mesh", long, 1)) },
		"a long URI":                  func() *x509.Certificate { return foreign.leaf(day, "https://"+long) },
	} {
		held, err := func() (weak.Pointer[x509.Certificate], error) {
			c := presented()
			_, err := v.verify([]*x509.Certificate{c}, clientAuth)
			return weak.Make(c), err
		}()
		if err == nil || len(err.Error()) > 2<<10 {
			t.Errorf("%s: %.3000v", name, err)
		}
		for range 2 {
			runtime.GC()
		}
		if held.Value() != nil {
			t.Errorf("%s: the certificate is held by %T", name, err)
		}
		runtime.KeepAlive(err)
	}
}
