package certfiles

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"
	"software.sslmate.com/src/go-pkcs12"

	"connect-proxy/connectproxy/agenttest"
	"connect-proxy/listener/listenertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// issued is a certificate with its key, as bytes of files.
type issued struct {
	cert      *x509.Certificate
	key       *ecdsa.PrivateKey
	pem, keys string
}

func issue(t testing.TB, name string, by *issued, notBefore, notAfter time.Time) *issued {
	t.Helper()
	template := x509.Certificate{
		Subject: pkix.Name{CommonName: name}, NotBefore: notBefore, NotAfter: notAfter,
		DNSNames: []string{name}, BasicConstraintsValid: true,
	}
	var issuer *listenertest.Certificate
	if by == nil {
		template.IsCA, template.KeyUsage = true, x509.KeyUsageCertSign
	} else {
		issuer = &listenertest.Certificate{Certificate: by.cert, Key: by.key}
	}
	c := listenertest.Issue(t, template, issuer)
	secret, err := x509.MarshalPKCS8PrivateKey(c.Key)
	if err != nil {
		t.Fatal(err)
	}
	return &issued{c.Certificate, c.Key, c.PEM(), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}))}
}

func year(t testing.TB, name string, by *issued) *issued {
	t.Helper()
	return issue(t, name, by, time.Now().Add(-time.Hour), time.Now().Add(365*24*time.Hour))
}

// paths are files in a directory of the test's.
type paths struct{ cert, key, ca, p12, password string }

func newPaths(t testing.TB) paths {
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	return paths{in("cert.pem"), in("key.pem"), in("ca.pem"), in("id.p12"), in("password")}
}

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// followed are files with a clock of the test's, and what is logged of them.
func followed(t *testing.T, o Options) (*Files, *time.Time, *bytes.Buffer) {
	t.Helper()
	var log bytes.Buffer
	o.Logger = hclog.New(&hclog.LoggerOptions{Output: &log})
	f, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	f.now = func() time.Time { return now }
	return f, &now, &log
}

func TestFilesAreReadAgainAndABrokenOneLeavesTheOldInForce(t *testing.T) {
	ca := year(t, "ca", nil)
	one, two := year(t, "one", ca), year(t, "two", ca)
	p := newPaths(t)
	write(t, p.cert, one.pem)
	write(t, p.key, "\xef\xbb\xbf"+one.keys)
	write(t, p.ca, ca.pem)
	f, now, log := followed(t, Options{Certificate: p.cert, Key: p.key, CA: p.ca})
	name := func() string { return f.Current().Certificate.Leaf.Subject.CommonName }
	if name() != "one" || f.Current().Roots == nil || f.Refused() != "" {
		t.Fatalf("%s, %v, %s", name(), f.Current().Roots, f.Refused())
	}
	changed := f.Changed()
	write(t, p.cert, two.pem) // half of it
	f.reload()
	if name() != "one" || log.Len() > 0 || !strings.Contains(f.Refused(), p.key) {
		t.Fatalf("half replaced: %s, %s, %s", name(), f.Refused(), log)
	}
	for range 5 {
		*now = now.Add(defaultInterval)
		f.reload()
	}
	if n := strings.Count(log.String(), "cannot be used"); n != 1 || strings.Contains(log.String(), "PRIVATE") {
		t.Errorf("said %d times: %s", n, log)
	}
	write(t, p.key, two.keys)
	f.reload()
	if name() != "two" || f.Refused() != "" {
		t.Errorf("%s, %s", name(), f.Refused())
	}
	select {
	case <-changed:
	default:
		t.Error("nobody was told")
	}
}

func TestAFileThatIsReplacedByALinkIsReadAgain(t *testing.T) {
	ca := year(t, "ca", nil)
	p := newPaths(t)
	real := filepath.Join(t.TempDir(), "both.pem")
	one := year(t, "one", ca)
	write(t, real, one.keys+one.pem)
	agenttest.Symlink(t, real, p.cert)
	f, _, _ := followed(t, Options{Certificate: p.cert})
	other := filepath.Join(t.TempDir(), "both.pem")
	two := year(t, "two", ca)
	write(t, other, two.pem+two.keys)
	if err := os.Remove(p.cert); err != nil {
		t.Fatal(err)
	}
	agenttest.Symlink(t, other, p.cert)
	f.reload()
	if got := f.Current().Certificate.Leaf.Subject.CommonName; got != "two" {
		t.Errorf("%s is in force", got)
	}
}

func TestAPKCS12FileHasAllThree(t *testing.T) {
	ca := year(t, "ca", nil)
	id := year(t, "one", ca)
	der, err := pkcs12.Modern.Encode(id.key, id.cert, []*x509.Certificate{ca.cert}, "secret word")
	if err != nil {
		t.Fatal(err)
	}
	p := newPaths(t)
	write(t, p.p12, string(der))
	write(t, p.password, "secret word\r\n")
	f, err := New(Options{PKCS12: p.p12, PasswordFile: p.password})
	if err != nil {
		t.Fatal(err)
	}
	if c := f.Current(); c.Roots == nil || len(c.Certificate.Certificate) != 1 || c.Certificate.Leaf.Subject.CommonName != "one" {
		t.Errorf("%+v", c)
	}
	write(t, p.password, "other\n")
	if _, err := New(Options{PKCS12: p.p12, PasswordFile: p.password}); err == nil || !strings.Contains(err.Error(), "wrong password for "+p.p12) {
		t.Errorf("%v", err)
	}
}

func TestWhatIsWrongIsOneLineThatNamesTheFile(t *testing.T) {
	ca := year(t, "ca", nil)
	good, other := year(t, "good", ca), year(t, "other", ca)
	old := issue(t, "old", ca, time.Now().Add(-48*time.Hour), time.Now().Add(-24*time.Hour))
	young := issue(t, "young", ca, time.Now().Add(24*time.Hour), time.Now().Add(48*time.Hour))
	encrypted := "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n"
	for name, tc := range map[string]struct{ cert, key, ca, says string }{
		"a key of another":        {good.pem, other.keys, ca.pem, "does not belong to the first certificate in"},
		"an expired one":          {old.pem, old.keys, ca.pem, "expired at"},
		"one of tomorrow":         {young.pem, young.keys, ca.pem, "look at this machine's clock"},
		"an empty file":           {" \n", good.keys, ca.pem, "is empty"},
		"no certificate":          {good.keys, good.keys, ca.pem, "holds no certificate"},
		"no key":                  {good.pem, good.pem, ca.pem, "holds no key"},
		"an encrypted key":        {good.pem, encrypted, ca.pem, "is encrypted"},
		"half a key":              {good.pem, good.keys[:60], ca.pem, "holds no key"},
		"a CA that is none":       {good.pem, good.keys, other.pem, "does not belong to a CA"},
		"a CA in place of itself": {ca.pem, ca.keys, ca.pem, "belongs to a CA"},
		"rubbish":                 {strings.Replace(good.pem, "MII", "AII", 1), good.keys, ca.pem, "cannot be read"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPaths(t)
			write(t, p.cert, tc.cert)
			write(t, p.key, tc.key)
			write(t, p.ca, tc.ca)
			_, err := New(Options{Certificate: p.cert, Key: p.key, CA: p.ca})
			if err == nil || !strings.Contains(err.Error(), tc.says) || !strings.Contains(err.Error(), filepath.Dir(p.cert)) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%v", err)
			}
		})
	}
	p := newPaths(t)
	if _, err := New(Options{Certificate: p.cert, Key: p.key}); err == nil || !strings.Contains(err.Error(), p.cert+" does not exist") {
		t.Errorf("%v", err)
	}
}

func TestAnEndThatIsNearAndAKeyThatOthersReadAreWarnedOf(t *testing.T) {
	ca := year(t, "ca", nil)
	id := issue(t, "one", ca, time.Now().Add(-24*time.Hour), time.Now().Add(100*24*time.Hour))
	p := newPaths(t)
	write(t, p.cert, id.pem)
	write(t, p.key, id.keys)
	if err := os.Chmod(p.key, 0o644); err != nil {
		t.Fatal(err)
	}
	f, now, log := followed(t, Options{Certificate: p.cert, Key: p.key})
	if runtime.GOOS != "windows" {
		if w := f.Warnings(); len(w) != 1 || !strings.Contains(w[0], p.key) {
			t.Errorf("%q", w)
		}
	}
	*now = now.Add(94 * 24 * time.Hour)
	for range 3 {
		f.warn()
	}
	if n := strings.Count(log.String(), "expires at"); n != 1 {
		t.Errorf("warned %d times: %s", n, log)
	}
	*now = now.Add(10 * 24 * time.Hour)
	if f.Expired() == nil || !strings.Contains(strings.Join(f.Warnings(), " "), "expired") {
		t.Errorf("%v, %q", f.Expired(), f.Warnings())
	}
}

func TestAnExpiredFileTakesNoValidOnesPlace(t *testing.T) {
	ca := year(t, "ca", nil)
	good := year(t, "good", ca)
	old := issue(t, "old", ca, time.Now().Add(-48*time.Hour), time.Now().Add(-24*time.Hour))
	p := newPaths(t)
	write(t, p.cert, good.pem+good.keys)
	f, _, _ := followed(t, Options{Certificate: p.cert})
	write(t, p.cert, old.pem+old.keys)
	f.reload()
	if got := f.Current().Certificate.Leaf.Subject.CommonName; got != "good" || !strings.Contains(f.Refused(), "expired") {
		t.Errorf("%s, %s", got, f.Refused())
	}
}

func TestFilesWithoutACAAreRefusedWhereOneIsNeeded(t *testing.T) {
	ca := year(t, "ca", nil)
	one, two := year(t, "one", ca), year(t, "two", ca)
	p := newPaths(t)
	encode := func(id *issued, cas []*x509.Certificate) string {
		der, err := pkcs12.Modern.Encode(id.key, id.cert, cas, "")
		if err != nil {
			t.Fatal(err)
		}
		return string(der)
	}
	write(t, p.p12, encode(one, nil))
	if _, err := New(Options{PKCS12: p.p12, NeedsCA: true}); err == nil || !strings.Contains(err.Error(), "holds no CA") || !strings.Contains(err.Error(), p.p12) {
		t.Errorf("%v", err)
	}
	write(t, p.p12, encode(one, []*x509.Certificate{ca.cert}))
	f, _, _ := followed(t, Options{PKCS12: p.p12, NeedsCA: true})
	write(t, p.p12, encode(two, nil))
	f.reload()
	if got := f.Current(); got.Certificate.Leaf.Subject.CommonName != "one" || len(got.CAs) != 1 || !strings.Contains(f.Refused(), "holds no CA") {
		t.Errorf("%+v, %s", got, f.Refused())
	}
}

func TestFilesThatMakeNoSenseTogetherAreRefused(t *testing.T) {
	for _, o := range []Options{{}, {Certificate: "a", PKCS12: "b"}, {PKCS12: "b", Key: "c"}} {
		if _, err := New(o); err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("%+v: %v", o, err)
		}
	}
}

func FuzzPEM(f *testing.F) {
	ca := year(f, "ca", nil)
	id := year(f, "one", ca)
	f.Add([]byte(id.pem), []byte(id.keys))
	f.Add([]byte(id.pem+ca.pem), []byte("\xef\xbb\xbf"+id.keys))
	f.Fuzz(func(t *testing.T, cert, key []byte) {
		c, err := parsePair("cert.pem", cert, "key.pem", key)
		if err == nil && (c.PrivateKey == nil || len(c.Certificate) == 0) {
			t.Error("taken without a key or a certificate")
		}
		_, _ = parseCAs("ca.pem", cert)
	})
}

func FuzzPKCS12(f *testing.F) {
	ca := year(f, "ca", nil)
	id := year(f, "one", ca)
	for _, e := range []*pkcs12.Encoder{pkcs12.Modern, pkcs12.Legacy, pkcs12.Passwordless} {
		if der, err := e.WithIterations(2).Encode(id.key, id.cert, []*x509.Certificate{ca.cert}, ""); err == nil {
			f.Add(der)
		}
	}
	f.Fuzz(func(t *testing.T, der []byte) {
		c, _, err := parsePKCS12("id.p12", der, "")
		if err == nil && (c.PrivateKey == nil || len(c.Certificate) == 0) {
			t.Error("taken without a key or a certificate")
		}
	})
}

func TestEveryFaultOfFilesHasALineOfItsOwn(t *testing.T) {
	ca := year(t, "ca", nil)
	one, two := year(t, "one", ca), year(t, "two", ca)
	old := issue(t, "old", ca, time.Now().Add(-48*time.Hour), time.Now().Add(-24*time.Hour))
	for name, c := range map[string]struct {
		cert, key, ca string // empty is no file
		want          []string
	}{
		"nothing wrong":        {one.pem, one.keys, ca.pem, nil},
		"all are missing":      {"", "", "", []string{"cert.pem does not exist", "key.pem does not exist", "ca.pem does not exist"}},
		"all are something":    {"a", "b", "c", []string{"cert.pem holds no certificate", "key.pem holds no key", "ca.pem holds no certificate"}},
		"one each":             {"", "b", one.pem, []string{"cert.pem does not exist", "key.pem holds no key", "ca.pem does not belong to a CA"}},
		"another's key":        {one.pem, two.keys, "", []string{"ca.pem does not exist", "key.pem does not belong to the first certificate"}},
		"one that has expired": {old.pem, old.keys, ca.pem, []string{"cert.pem, or one sent along with it, expired at"}},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPaths(t)
			for path, text := range map[string]string{p.cert: c.cert, p.key: c.key, p.ca: c.ca} {
				if text != "" {
					write(t, path, text)
				}
			}
			got := Check(Options{Certificate: p.cert, Key: p.key, CA: p.ca, NeedsCA: true})
			if len(got) != len(c.want) {
				t.Fatalf("%d faults, want %d: %v", len(got), len(c.want), got)
			}
			for i, err := range got {
				if !strings.Contains(err.Error(), c.want[i]) || strings.Contains(err.Error(), "\n") {
					t.Errorf("fault %d is %v, want %q", i, err, c.want[i])
				}
			}
			_, err := New(Options{Certificate: p.cert, Key: p.key, CA: p.ca, NeedsCA: true})
			if (err == nil) != (len(c.want) == 0) || err != nil && strings.Contains(err.Error(), "\n") {
				t.Errorf("%v", err)
			}
		})
	}
	if got := Check(Options{}); len(got) != 1 {
		t.Errorf("without any file: %v", got)
	}
}
