package allowlist

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"net/url"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// has is a certificate with that in it: URIs, dns: and cn:.
func has(t testing.TB, names ...string) *x509.Certificate {
	t.Helper()
	c := &x509.Certificate{}
	for _, name := range names {
		if dns, ok := strings.CutPrefix(name, "dns:"); ok {
			c.DNSNames = append(c.DNSNames, dns)
			continue
		}
		if cn, ok := strings.CutPrefix(name, "cn:"); ok {
			c.Subject = pkix.Name{CommonName: cn}
			continue
		}
		u, err := url.Parse(name)
		if err != nil {
			t.Fatal(err)
		}
		c.URIs = append(c.URIs, u)
	}
	return c
}

// text is that of a certificate's names.
func text(t testing.TB, c *x509.Certificate) string {
	t.Helper()
	s, err := TextOf(c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestACertificateIsAllowedByItsIdentityAlone(t *testing.T) {
	for _, tc := range []struct {
		pattern string
		in      []string
		want    bool
	}{
		{"spiffe://a.org/ns/default/svc/web", []string{"spiffe://a.org/ns/default/svc/web"}, true},
		{"spiffe://A.org/ns/default/svc/web", []string{"SPIFFE://a.ORG/ns/default/svc/web"}, true},
		{"spiffe://a.org/ns/default/svc/web", []string{"spiffe://a.org/ns/default/svc/Web"}, false},
		{"spiffe://a.org/ns/default/svc/web", []string{"spiffe://a.org/ns/default/svc/web/"}, false},
		{"spiffe://a.org/ns/default/svc/web", []string{"spiffe://b.org/ns/default/svc/web"}, false},
		{"spiffe://a.org/ns/default/svc/web", []string{"spiffe://a.org.evil.org/ns/default/svc/web"}, false},
		{"spiffe://a.org/ns/default/svc/web", []string{"spiffe://a.org/ns/default/svc/web?x"}, false},
		{"spiffe://a.org/ns/default/svc/web", []string{"spiffe://u@a.org/ns/default/svc/web"}, false},
		{"spiffe://a.org/ns/default/svc/web", []string{"spiffe://a.org/ns/default/svc/web", "spiffe://a.org/x"}, false},
		{"spiffe://a.org/ns/*/svc/web", []string{"spiffe://a.org/ns/dev/svc/web"}, true},
		{"spiffe://a.org/ns/*/svc/web", []string{"spiffe://a.org/ns/dev/x/svc/web"}, false},
		{"spiffe://a.org/ns/*/svc/web", []string{"spiffe://a.org/ns//svc/web"}, false},
		{"spiffe://a.org/ns/*/svc/web", []string{"spiffe://a.org/ns/../svc/web"}, false},
		{"spiffe://a.org/ns/*/svc/web", []string{"spiffe://a.org/ns/%2e%2e/svc/web"}, false},
		{"spiffe://a.org/ns/*/svc/web", []string{"spiffe://a.org/ns/a%2fb/svc/web"}, false},
		{"spiffe://a.org/ns/*/svc/web", []string{"spiffe://a.org/ns/d%65v/svc/web"}, false},
		{"https://a.org/*/web", []string{"https://a.org/%2E%2e/web"}, false},
		{"https://a.org/*/web", []string{"https://a.org/a%2Fb/web"}, false},
		{"https://a.org/*/web", []string{"https://a.org/%2A/web"}, false},
		{"https://a.org/*/web", []string{"https://a.org/a%20b/web"}, true},
		{"spiffe://a.org/ns/*/svc/*", []string{"spiffe://a.org/ns/dev/svc/web"}, true},
		{"spiffe://a.org/*", []string{"spiffe://a.org/a/b"}, false},
		{"spiffe://a.org/*", []string{"spiffe://a.org"}, false},
		{"spiffe://a.org", []string{"spiffe://a.org"}, true},
		{"https://a.org/x", []string{"https://b.org/x", "https://a.org/x"}, true},
		{"https://a.org/x", []string{"http://a.org/x"}, false},
		{"https://a.org/x%2Fy", []string{"https://a.org/x/y"}, false},
		{"dns:Api.a.org", []string{"dns:api.A.org"}, true},
		{"dns:api.a.org", []string{"dns:x.api.a.org"}, false},
		{"dns:*.a.org", []string{"dns:api.a.org"}, true},
		{"dns:*.a.org", []string{"dns:x.api.a.org"}, false},
		{"dns:*.a.org", []string{"dns:a.org"}, false},
		{"dns:*.a.org", []string{"dns:*.a.org"}, false},
		{"dns:api.a.org", []string{"dns:*.a.org"}, false},
		{"cn:client-7", []string{"cn:client-7"}, true},
		{"cn:client-7", []string{"cn:Client-7"}, false},
		{"cn:api.a.org", []string{"dns:api.a.org"}, false},
		{"dns:api.a.org", []string{"cn:api.a.org"}, false},
		{"cn:x", nil, false},
		{"*", nil, true},
		{"*", []string{"cn:x"}, true},
	} {
		l, err := Parse([]string{tc.pattern})
		if err != nil {
			t.Fatal(err)
		}
		by, got := l.AllowsText(text(t, has(t, tc.in...)))
		if got != tc.want || got && !strings.EqualFold(by, tc.pattern) {
			t.Errorf("%s allows %q: %v by %q", tc.pattern, tc.in, got, by)
		}
	}
}

func TestAPatternThatCanNeverMatchIsAnError(t *testing.T) {
	for text, says := range map[string]string{
		"":                               "it is empty",
		"web":                            "give spiffe://",
		"spiffe:/a.org/x":                "give spiffe://",
		"spiffe:///x":                    "trust domain",
		"spiffe://*/x":                   "* stands for a segment of the path alone",
		"spiffe://*.org/x":               "* stands for a segment of the path alone",
		"spiffe://a.org:8443/x":          "no port",
		"spiffe://a_b!/x":                "a trust domain has letters",
		"spiffe://a.org/we*":             "a whole segment",
		"spiffe://a.org/**":              "a whole segment",
		"spiffe://a.org/x/":              "no slash at its end",
		"spiffe://a.org//x":              "no empty segment",
		"spiffe://a.org/../x":            "no segment",
		"spiffe://a.org/x%20y":           "letters, digits",
		"https://a.org/x y/*":            "as %20 for a space",
		"spiffe://a.org/x?y":             "no user, query or fragment",
		"spiffe://a.org/x#":              "no user, query or fragment",
		"spiffe://u@a.org/x":             "no user, query or fragment",
		"uri://a.org/x":                  "no certificate's",
		"sha256://a.org":                 "no certificate's",
		"dns:":                           "a label is empty",
		"dns:api.a.org.":                 "without a dot at its end",
		"dns:*":                          "the whole first label",
		"dns:a*.org":                     "the whole first label",
		"dns:a.*.org":                    "the whole first label",
		"dns:a b":                        "no label",
		"dns:bücher.example":             "xn--",
		"dns:https://a.org":              "no label",
		"cn:":                            "missing",
		"cn:client-*":                    "give it whole",
		"cn:a\x00b":                      "bytes that no identity has",
		"dns:" + strings.Repeat("a", 64): "at most 63",
	} {
		_, err := Parse([]string{"cn:good", text})
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v, want %q", text, err, says)
		}
		if err != nil && strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: more than a line: %v", text, err)
		}
	}
}

func TestEveryMistakeIsNamed(t *testing.T) {
	_, err := Parse([]string{"web", "cn:good", "dns:*"})
	if err == nil || !strings.Contains(err.Error(), `"web"`) || !strings.Contains(err.Error(), `"dns:*"`) || strings.Contains(err.Error(), "good") {
		t.Errorf("%v", err)
	}
}

func TestNobodyIsAllowedByAnEmptyList(t *testing.T) {
	empty, err := Parse(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range []*List{nil, {}, empty} {
		if by, ok := l.AllowsText(text(t, has(t, "cn:", "spiffe://a.org"))); ok || l.Len() != 0 {
			t.Errorf("allowed by %q", by)
		}
		if _, ok := l.allows(names{}); ok {
			t.Error("no certificate is allowed")
		}
	}
}

// FuzzParse holds that whatever is taken can match: what it says with a word in
// place of each * is allowed by it.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{"spiffe://a.org/ns/*/svc/web", "https://a.org/%2f/*", "dns:*.a.org", "cn:x", "spiffe://a.org", "a://b/", "spiffe://a.org/x%2A"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, pattern string) {
		l, err := Parse([]string{pattern})
		if err != nil || pattern == wildcard {
			return
		}
		kind, rest, _ := strings.Cut(pattern, ":")
		c := &x509.Certificate{}
		switch kind = strings.ToLower(kind); kind {
		case "dns":
			c.DNSNames = []string{strings.Replace(rest, "*", "x", 1)}
		case "cn":
			c.Subject.CommonName = rest
		default:
			u, err := url.Parse(strings.ReplaceAll(pattern, "*", "x"))
			if err != nil {
				t.Fatalf("%q was taken: %v", pattern, err)
			}
			c.URIs = []*url.URL{u}
		}
		if _, ok := l.AllowsText(text(t, c)); !ok {
			t.Errorf("%q can never match", pattern)
		}
		if _, ok := l.AllowsText(text(t, &x509.Certificate{})); ok {
			t.Errorf("%q allows a certificate without an identity", pattern)
		}
	})
}
