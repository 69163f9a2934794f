package edge

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"connect-proxy/listener/listenertest"
)

// at lies to requests for a path.
func at(path string, lie http.HandlerFunc) func(*fakeCA) {
	return func(ca *fakeCA) {
		ca.lie = func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path != path {
				return false
			}
			lie(w, r)
			return true
		}
	}
}

func says(status int, kind, text string, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", kind)
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, text)
	}
}

func changed(f func(c *x509.Certificate)) func(*fakeCA) { return func(ca *fakeCA) { ca.change = f } }

func TestWhatACALiesAboutIsNeverShownToClients(t *testing.T) {
	t.Parallel()
	const problem = "application/problem+json"
	for name, c := range map[string]struct {
		lie  func(ca *fakeCA)
		want string // in the log
	}{
		"another name":  {changed(func(c *x509.Certificate) { c.DNSNames = []string{"evil.test"} }), "a certificate for another name"},
		"no name":       {changed(func(c *x509.Certificate) { c.DNSNames = nil }), "a certificate for another name"},
		"expired":       {changed(func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Second) }), "was valid until"},
		"not valid yet": {changed(func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Minute) }), "is this clock right?"},
		"another key": {func(ca *fakeCA) {
			ca.change = func(c *x509.Certificate) {
				c.PublicKey = ca.key.Public()
			}
		}, "private key does not match public key"},
		"garbage":      {func(ca *fakeCA) { ca.chain = func([]byte) []byte { return []byte("\x00\xffgarbage\n\n") } }, "find any PEM data"},
		"nothing":      {func(ca *fakeCA) { ca.chain = func([]byte) []byte { return nil } }, "no certificate"},
		"a long chain": {func(ca *fakeCA) { ca.chain = func(b []byte) []byte { return bytes.Repeat(b, 200) } }, "a chain of"},
		"no end": {at("/dir", func(w http.ResponseWriter, _ *http.Request) {
			for _, err := io.WriteString(w, "{"); err == nil; _, err = w.Write(make([]byte, 64<<10)) {
			}
		}), "longer than 1048576 bytes"},
		"elsewhere":   {at("/dir", says(302, "text/plain", "", "Location", "https://127.0.0.1:1/dir")), "redirects are not followed"},
		"without TLS": {at("/dir", says(200, "application/json", `{"newNonce": "http://127.0.0.1:1/n", "newAccount": "http://127.0.0.1:1/a", "newOrder": "http://127.0.0.1:1/o"}`)), "without TLS"},
		"no JSON":     {at("/dir", says(200, "application/json", "<html>\n\x1b[31m")), "invalid character"},
		"too many":    {at("/new", says(429, problem, `{"type": "urn:ietf:params:acme:error:rateLimited", "detail": "too many"}`, "Retry-After", "999999999")), "too many"},
		"overload":    {at("/new", says(503, "text/plain", strings.Repeat("down\n", 10_000), "Retry-After", "999999999")), "HTTP 503: down down"},
		"somebody else's challenge": {at("/authz", says(200, "application/json",
			`{"status": "pending", "identifier": {"type": "dns", "value": "victim.test"}, "challenges": [{"type": "tls-alpn-01", "url": "https://127.0.0.1:1/c", "token": "t", "status": "pending"}]}`)), `the CA wants to see \"victim.test\"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ca := newFakeCA(t)
			c.lie(ca)
			e, log := ca.ordering()
			listenertest.Within(t, 30*time.Second, "it is told twice", func() bool { return strings.Count(log.String(), "no certificate: host=edge.test") > 1 })
			if !log.has(c.want) {
				t.Errorf("the log does not say %q", c.want)
			}
			for line := range strings.Lines(log.String()) {
				if len(line) > 1000 || strings.ContainsRune(line, '\x1b') || strings.Contains(line, "PRIVATE") {
					t.Errorf("a line of %d bytes: %.300q", len(line), line)
				}
			}
			if p := e.Problems(); len(p) != 1 || !strings.HasPrefix(p[0], "edge: no certificate for edge.test: ") {
				t.Errorf("problems %q", p)
			}
			if _, err := e.certificates.get("edge.test", &tls.ClientHelloInfo{}); !errors.Is(err, errNoCertificate) {
				t.Errorf("a client is shown a certificate: %v", err)
			}
			if names, err := filepath.Glob(filepath.Join(ca.dir, "cache", "*", "*")); err != nil || len(names) > 1 {
				t.Errorf("%q are kept: %v", names, err)
			}
		})
	}
}

func TestACAThatDoesNotAnswerHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	for name, slow := range map[string]http.HandlerFunc{
		"silent": func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"a byte at a time": func(w http.ResponseWriter, r *http.Request) {
			every := time.NewTicker(10 * time.Millisecond)
			defer every.Stop()
			for r.Context().Err() == nil {
				_, _ = io.WriteString(w, " ")
				_ = http.NewResponseController(w).Flush()
				<-every.C
			}
		},
	} {
		for _, path := range []string{"/dir", "/cert"} {
			t.Run(name+path, func(t *testing.T) {
				t.Parallel()
				ca, reached := newFakeCA(t), make(chan struct{}, 100)
				at(path, func(w http.ResponseWriter, r *http.Request) {
					_, _ = io.Copy(io.Discard, r.Body) // or the end of the connection is not seen
					reached <- struct{}{}
					slow(w, r)
				})(ca)
				e := New(Options{Hosts: []string{"edge.test"}, ACME: ca.acme()})
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan error, 1)
				go func() { done <- e.Run(ctx) }()
				<-reached
				if p := e.Problems(); len(p) != 1 || !strings.Contains(p[0], "being ordered") {
					t.Errorf("problems %q", p)
				}
				if _, err := e.certificates.get("edge.test", &tls.ClientHelloInfo{SupportedProtos: []string{"acme-tls/1"}}); err == nil {
					t.Error("a challenge that nobody has made is answered")
				}
				began := time.Now()
				cancel()
				if err := <-done; !errors.Is(err, context.Canceled) || time.Since(began) > 5*time.Second {
					t.Errorf("%v, after %s", err, time.Since(began))
				}
			})
		}
	}
}

func TestWhatTheCacheHasIsUsedIfItIsRight(t *testing.T) {
	t.Parallel()
	serial := func(e *Terminator) string {
		c, err := e.certificates.get("edge.test", &tls.ClientHelloInfo{})
		if err != nil {
			return ""
		}
		return c.Leaf.SerialNumber.String()
	}
	for name, c := range map[string]struct {
		spoil func(t *testing.T, ca *fakeCA, dir string)
		kept  bool // the certificate from before is used
		log   string
	}{
		"whole":        {func(*testing.T, *fakeCA, string) {}, true, "in force"},
		"without a CA": {func(_ *testing.T, ca *fakeCA, _ string) { ca.Close() }, true, "in force"},
		"read-only": {func(t *testing.T, _ *fakeCA, dir string) {
			spoil(t, os.Rename(dir, dir+"2"), os.Symlink(dir+"2", dir), os.Chmod(dir+"2", 0o500))
		}, true, "in force"},
		"cut":            {func(t *testing.T, _ *fakeCA, dir string) { spoil(t, os.Truncate(filepath.Join(dir, "edge.test"), 300)) }, false, "is not used"},
		"empty":          {func(t *testing.T, _ *fakeCA, dir string) { spoil(t, os.Truncate(filepath.Join(dir, "edge.test"), 0)) }, false, "is not used"},
		"open to others": {func(t *testing.T, _ *fakeCA, dir string) { spoil(t, os.Chmod(filepath.Join(dir, "edge.test"), 0o644)) }, false, "is open to others (mode 0644)"},
		"a huge file": {func(t *testing.T, _ *fakeCA, dir string) {
			spoil(t, os.Truncate(filepath.Join(dir, "edge.test"), 1<<30))
		}, false, "has 1073741824 bytes"},
		"of another host": {func(t *testing.T, _ *fakeCA, dir string) {
			spoil(t, os.Rename(filepath.Join(dir, "www.edge.test"), filepath.Join(dir, "edge.test")))
		}, false, "for another name"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ca := newFakeCA(t)
			e := New(Options{Hosts: []string{"edge.test"}, ACME: ca.acme()})
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() { done <- e.Run(ctx) }()
			listenertest.Eventually(t, "there is a certificate", func() bool { return serial(e) != "" })
			before := serial(e)
			cancel()
			<-done
			dir := e.certificates.(*orders).cache.dir
			for _, f := range []string{"edge.test", accountFile} {
				if info, err := os.Stat(filepath.Join(dir, f)); err != nil || info.Mode().Perm() != 0o600 {
					t.Errorf("%s: %v %v", f, info, err)
				}
			}
			if name == "of another host" {
				writeOther(t, dir)
			}
			c.spoil(t, ca, dir)
			again, log := ca.ordering()
			listenertest.Eventually(t, "there is a certificate again", func() bool { return serial(again) != "" })
			listenertest.Eventually(t, "the log says "+c.log, func() bool { return log.has(c.log) })
			if got := serial(again); (got == before) != c.kept {
				t.Errorf("serial %s, was %s", got, before)
			}
			if info, err := os.Stat(filepath.Join(dir, "edge.test")); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("afterwards %v %v", info, err)
			}
			if p := again.Problems(); len(p) != 0 {
				t.Errorf("problems %q", p)
			}
		})
	}
}

// spoil fails where the cache could not be changed.
func spoil(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// writeOther puts a certificate of another host into a directory.
func writeOther(t *testing.T, dir string) {
	t.Helper()
	c := listenertest.Issue(t, x509.Certificate{DNSNames: []string{"www.edge.test"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}, nil)
	spoil(t, os.WriteFile(filepath.Join(dir, "www.edge.test"), []byte(c.KeyPEM(t)+c.PEM()), 0o600))
}

func TestACertificateThatCannotBeKeptIsUsedAndToldOf(t *testing.T) {
	t.Parallel()
	ca := newFakeCA(t)
	dir := newCache(ca.acme().CacheDir, ca.acme().DirectoryURL).dir
	if err := os.MkdirAll(filepath.Join(dir, "edge.test", "in the way"), 0o700); err != nil {
		t.Fatal(err)
	}
	e, log := ca.ordering()
	listenertest.Eventually(t, "there is a certificate", func() bool {
		_, err := e.certificates.get("edge.test", &tls.ClientHelloInfo{})
		return err == nil
	})
	listenertest.Eventually(t, "it is told", func() bool { return log.has("cannot be kept") })
	if left, err := filepath.Glob(filepath.Join(dir, ".new-*")); err != nil || len(left) > 0 {
		t.Errorf("%q are left, %v", left, err)
	}
}

func TestAnotherCAIsAskedWhereItsDirectoryIsAnother(t *testing.T) {
	t.Parallel()
	dirs := map[string]bool{}
	for _, url := range []string{"https://a.test/directory", "https://b.test/directory", "https://a.test:1/directory", "https://a.test/../../x", "https://../..", "https://a.test/staging/directory"} {
		c := newCache("/cache", url)
		if filepath.Dir(c.dir) != "/cache" {
			t.Errorf("%s is kept in %s", url, c.dir)
		}
		dirs[c.dir] = true
	}
	if len(dirs) != 6 {
		t.Errorf("%v", dirs)
	}
}
