package allowlist

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"net/url"
	"slices"
	"strings"
	"testing"
)

func TestTheTextOfACertificatesNamesIsWhatPeopleWrite(t *testing.T) {
	for want, c := range map[string]*x509.Certificate{
		"spiffe://a.org/web":                      has(t, "spiffe://a.org/web"),
		"spiffe://a.org/web dns:web.a.org cn:web": has(t, "spiffe://a.org/web", "dns:web.a.org", "cn:web"),
		"dns:a.org dns:b.org":                     has(t, "dns:a.org", "dns:b.org"),
		"cn:John%20Doe":                           has(t, "cn:John Doe"),
		"cn:Zoë":                                  has(t, "cn:Zoë"),
		"cn:100%25":                               has(t, "cn:100%"),
		"https://a.org/x%20y?q#f":                 has(t, "https://a.org/x y?q#f"),
		"uri:urn:uuid:1":                          has(t, "urn:uuid:1"),
		"sha256:" + emptySHA256:                   {},
	} {
		if got := text(t, c); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

const emptySHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

// A CA may sign any text as one kind of name to someone whom it would not sign
// another kind.
func TestNoNameLooksLikeOneOfAnotherKindOrLikeTwo(t *testing.T) {
	l, err := Parse([]string{"spiffe://a.org/admin", "dns:admin.a.org", "cn:admin", "https://a.org/admin"})
	if err != nil {
		t.Fatal(err)
	}
	opaque := func(s string) *url.URL { return &url.URL{Scheme: "dns", Opaque: s} }
	for name, c := range map[string]*x509.Certificate{
		"a DNS name with another behind a space":  {DNSNames: []string{"x cn:admin"}},
		"a DNS name with another behind a tab":    {DNSNames: []string{"x\tcn:admin"}},
		"a DNS name with an escaped space":        {DNSNames: []string{"x%20cn:admin"}},
		"a DNS name that is a URI":                {DNSNames: []string{"https://a.org/admin"}},
		"a DNS name that makes a URI of its kind": {DNSNames: []string{"//a.org/admin"}},
		"a common name that is a DNS name":        {Subject: pkix.Name{CommonName: "dns:admin.a.org"}},
		"a common name with a URI":                {Subject: pkix.Name{CommonName: "x spiffe://a.org/admin"}},
		"a URI that is a DNS name":                {URIs: []*url.URL{opaque("admin.a.org")}},
		"a URI that is a common name":             {URIs: []*url.URL{{Scheme: "cn", Opaque: "admin"}}},
		"a URI with a space":                      {URIs: []*url.URL{{Scheme: "x", Opaque: "y cn:admin"}}},
		"a URI of the scheme cn with a host":      {URIs: []*url.URL{{Scheme: "cn", Host: "admin"}}},
		"a SPIFFE ID and an opaque URI":           {URIs: []*url.URL{{Scheme: "spiffe", Host: "a.org", Path: "/admin"}, opaque("x")}},
		"an email address":                        {EmailAddresses: []string{"admin"}},
	} {
		s := text(t, c)
		if by, ok := l.AllowsText(s); ok {
			t.Errorf("%s: %q is allowed by %q", name, s, by)
		}
		if strings.ContainsAny(s, "\t\n") {
			t.Errorf("%s: %q is not one line", name, s)
		}
	}
}

func TestATextThatIsNoneIsNotAllowed(t *testing.T) {
	l, err := Parse([]string{"*"})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{"", "x", " ", "cn:%zz", "cn:x ", "x cn:y", "://", "/a"} {
		if by, ok := l.AllowsText(s); ok {
			t.Errorf("%q is allowed by %q", s, by)
		}
	}
}

func TestACertificateWithTooManyNamesIsRefused(t *testing.T) {
	c := &x509.Certificate{DNSNames: slices.Repeat([]string{"web.example.org"}, 300)}
	if _, err := TextOf(c); !errors.Is(err, errTooManyNames) {
		t.Errorf("%v", err)
	}
}

// FuzzTextOf holds that the text of names says what they are and no more.
func FuzzTextOf(f *testing.F) {
	f.Add("a.org", "b", "spiffe://a.org/x")
	f.Add("x cn:admin", "dns:y", "dns:z")
	f.Add("", "", "cn://admin/x y")
	f.Fuzz(func(t *testing.T, dns, cn, uri string) {
		c := &x509.Certificate{DNSNames: []string{dns}, Subject: pkix.Name{CommonName: cn}}
		u, err := url.Parse(uri)
		if err == nil {
			c.URIs = []*url.URL{u}
		}
		s, err := TextOf(c)
		if err != nil {
			return
		}
		n, err := parseNames(s)
		if err != nil {
			t.Fatalf("%q: %v", s, err)
		}
		if !slices.Equal(n.dns, c.DNSNames) || n.commonName != cn || len(n.uris)+n.others != len(c.URIs) {
			t.Fatalf("%q is read as %+v", s, n)
		}
		for _, got := range n.uris {
			if got.Host != u.Host || got.Scheme != u.Scheme || got.EscapedPath() != u.EscapedPath() || got.RawQuery != u.RawQuery || got.Fragment != u.Fragment {
				t.Errorf("%q: %#v, was %#v", s, got, u)
			}
		}
		if strings.ContainsAny(s, "\n\r\t") || s == "" {
			t.Errorf("%q", s)
		}
	})
}
