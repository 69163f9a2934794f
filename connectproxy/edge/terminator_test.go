package edge

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"

	"connect-proxy/config"
	"connect-proxy/connectproxy/agenttest/pebble"
	"connect-proxy/listener"
	"connect-proxy/listener/listenertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// output is a log.
type output struct {
	mu sync.Mutex // guards b
	b  strings.Builder
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

func (o *output) has(text string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return strings.Contains(o.b.String(), text)
}

// front is a Terminator behind a listener, that greets who comes through.
type front struct {
	*listener.Listener
	log  *output
	port int
}

// open listens at a port of loopback until the test ends. later makes the Terminator once
// the port is known.
func open(t *testing.T, later func(port int, o Options) *Terminator) *front {
	t.Helper()
	ln, err := listener.Listen(t.Context(), "tcp", "127.0.0.1:0", 0)
	if err != nil {
		t.Fatal(err)
	}
	f := &front{log: new(output), port: ln.Addr().(*net.TCPAddr).Port}
	logger := hclog.New(&hclog.LoggerOptions{Output: f.log})
	e := later(f.port, Options{
		Logger: logger,
		Request: func(c net.Conn) listener.Request {
			return listener.Request{Conn: c, Serve: func(_ context.Context, c net.Conn) { _, _ = io.WriteString(c, "welcome") }}
		},
	})
	f.Listener, err = listener.New(ln, listener.Options{Name: "edge", Request: e.Request, HandshakeTimeout: 2 * time.Second, Logger: logger})
	if err != nil {
		t.Fatal(err)
	}
	listenertest.Run(t, func(ctx context.Context) error {
		err := f.Run(ctx) // also until a drain
		<-ctx.Done()
		return errors.Join(err, ctx.Err())
	})
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the edge said:\n%s", f.log)
		}
	})
	listenertest.Run(t, e.Run)
	return f
}

// visit connects as a client that trusts roots, and returns the certificate that it
// was shown.
func (f *front) visit(name string, roots *x509.CertPool) (*x509.Certificate, error) {
	d := tls.Dialer{Config: &tls.Config{ServerName: name, RootCAs: roots, MinVersion: tls.VersionTLS12, InsecureSkipVerify: roots == nil}}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	c, err := d.DialContext(ctx, "tcp", f.Addr().String())
	if err != nil {
		return nil, err
	}
	defer func() { _ = c.Close() }()
	if b, err := io.ReadAll(c); err != nil || string(b) != "welcome" {
		return nil, errors.Join(err, errors.New("not served"))
	}
	return c.(*tls.Conn).ConnectionState().PeerCertificates[0], nil
}

// certificate writes a new certificate for names and its key into a directory.
func certificate(t *testing.T, dir string, names ...string) *x509.CertPool {
	t.Helper()
	c := listenertest.Issue(t, x509.Certificate{
		DNSNames: names, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(1000 * time.Hour),
	}, nil)
	text := []byte(c.KeyPEM(t) + c.PEM())
	if err := os.WriteFile(filepath.Join(dir, "new.pem"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(dir, "new.pem"), filepath.Join(dir, "tls.pem")); err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(c.Certificate)
	return roots
}

func TestACertificateFromFilesIsReplacedWhileItIsInUse(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := certificate(t, dir, "edge.test")
	f := open(t, func(_ int, o Options) *Terminator {
		o.Hosts, o.Cert = []string{"Edge.test", "other.test"}, filepath.Join(dir, "tls.pem")
		return New(o)
	})
	listenertest.Eventually(t, "the certificate is in use", func() bool { _, err := f.visit("edge.test", first); return err == nil })
	listenertest.Eventually(t, "what it is not for is told", func() bool { return f.log.has("host=other.test") })
	second := certificate(t, dir, "edge.test")
	listenertest.Eventually(t, "the new one is in use", func() bool { _, err := f.visit("edge.test", second); return err == nil })
}

func TestFilesThatAreMissingAtTheStartAreWaitedFor(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	f := open(t, func(_ int, o Options) *Terminator {
		o.Hosts, o.Cert = []string{"edge.test"}, filepath.Join(dir, "tls.pem")
		return New(o)
	})
	listenertest.Eventually(t, "it is told", func() bool { return f.log.has("tls.pem") })
	if _, err := f.visit("edge.test", nil); err == nil {
		t.Error("served without a certificate")
	}
	roots := certificate(t, dir, "edge.test")
	listenertest.Eventually(t, "the certificate is in use", func() bool { _, err := f.visit("edge.test", roots); return err == nil })
}

func TestAClientThatNamesNoHostOfOursIsRefusedInTheHandshake(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	roots := certificate(t, dir, "edge.test")
	f := open(t, func(_ int, o Options) *Terminator {
		o.Hosts, o.Cert = []string{"edge.test"}, filepath.Join(dir, "tls.pem")
		return New(o)
	})
	listenertest.Eventually(t, "the certificate is in use", func() bool { _, err := f.visit("EDGE.test", roots); return err == nil })
	for _, name := range []string{"", "127.0.0.1", "other.test", "edge.test.evil", strings.Repeat("a", 60) + ".edge.test", "*.test"} {
		_, err := f.visit(name, nil)
		if err == nil || !strings.Contains(err.Error(), "unrecognized name") {
			t.Errorf("%q: %v", name, err)
		}
	}
	c, err := net.Dial("tcp", f.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: edge.test\r\n\r\n")
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	if b, _ := io.ReadAll(c); strings.Contains(string(b), "welcome") {
		t.Errorf("served without TLS: %q", b)
	}
}

func TestAClientThatDoesNotFinishItsHandshakeIsGivenUp(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	certificate(t, dir, "edge.test")
	f := open(t, func(_ int, o Options) *Terminator {
		o.Hosts, o.Cert = []string{"edge.test"}, filepath.Join(dir, "tls.pem")
		return New(o)
	})
	for _, sent := range []string{"", "\x16\x03\x01\x02\x00"} {
		c, err := net.Dial("tcp", f.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(c, sent)
		_ = c.SetReadDeadline(time.Now().Add(20 * time.Second))
		if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%q: still open", sent)
		}
		_ = c.Close()
	}
}

// acmeFront opens a front with certificates of an ACME server.
func acmeFront(t *testing.T, validity time.Duration, change func(*Options, *orders)) (*front, *pebble.Server) {
	t.Helper()
	var ca *pebble.Server
	f := open(t, func(port int, o Options) *Terminator {
		ca = pebble.Start(t, port, validity)
		o.Hosts = []string{"edge.test", "www.edge.test"}
		o.ACME = config.ACME{CacheDir: filepath.Join(t.TempDir(), "acme"), DirectoryURL: ca.DirectoryURL, CA: ca.CAFile}
		e := New(o)
		if change != nil {
			change(&e.o, e.certificates.(*orders))
		}
		return e
	})
	return f, ca
}

func TestCertificatesAreGotFromAnACMEServer(t *testing.T) {
	t.Parallel()
	var cache string
	f, ca := acmeFront(t, time.Hour, func(o *Options, _ *orders) { cache = o.ACME.CacheDir })
	roots := ca.Roots()
	listenertest.Within(t, time.Minute, "each host has a certificate", func() bool {
		_, err := f.visit("edge.test", roots)
		_, other := f.visit("www.edge.test", roots)
		return err == nil && other == nil
	})
	if _, err := f.visit("other.edge.test", nil); err == nil || !strings.Contains(err.Error(), "unrecognized name") {
		t.Errorf("a name that is not ours: %v", err)
	}
	info, err := os.Stat(cache)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the cache: %v %v", info.Mode(), err)
	}
	ca.Kill()
	again := open(t, func(_ int, o Options) *Terminator {
		o.Hosts = []string{"edge.test"}
		o.ACME = config.ACME{CacheDir: cache, DirectoryURL: ca.DirectoryURL, CA: ca.CAFile}
		return New(o)
	})
	listenertest.Eventually(t, "what was got is used again, without the server", func() bool { _, err := again.visit("edge.test", roots); return err == nil })
}

func TestACertificateIsRenewedAndKeptWhereItCannotBe(t *testing.T) {
	t.Parallel()
	f, ca := acmeFront(t, 18*time.Second, func(_ *Options, s *orders) { s.shortestRetry = 200 * time.Millisecond })
	roots := ca.Roots()
	var first, second *x509.Certificate
	listenertest.Within(t, time.Minute, "there is a certificate", func() bool {
		first, _ = f.visit("edge.test", roots)
		return first != nil
	})
	listenertest.Within(t, time.Minute, "it is renewed", func() bool {
		second, _ = f.visit("edge.test", roots)
		return second != nil && !second.Equal(first)
	})
	ca.Kill()
	listenertest.Within(t, time.Minute, "it is told that it cannot be", func() bool { return f.log.has("the certificate is not renewed") })
	if got, err := f.visit("edge.test", nil); err != nil || got == nil {
		t.Errorf("afterwards: %v", err)
	}
}

func TestACacheThatOthersMayReadIsNotUsed(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "open")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	f := open(t, func(_ int, o Options) *Terminator {
		o.Hosts = []string{"edge.test"}
		o.ACME = config.ACME{CacheDir: dir, DirectoryURL: "https://127.0.0.1:1/dir"}
		return New(o)
	})
	listenertest.Eventually(t, "it is told", func() bool { return f.log.has("chmod 700") })
	if _, err := f.visit("edge.test", nil); err == nil {
		t.Error("served without a certificate")
	}
	if files, _ := os.ReadDir(dir); len(files) != 0 {
		t.Errorf("it has %v", files)
	}
}

func TestStrangersOrderNothing(t *testing.T) {
	t.Parallel()
	asked := listenertest.NewServer(t, func(c *net.TCPConn) { _, _ = io.Copy(io.Discard, c) })
	f := open(t, func(_ int, o Options) *Terminator {
		o.Hosts = []string{"edge.test"}
		o.ACME = config.ACME{CacheDir: filepath.Join(t.TempDir(), "acme"), DirectoryURL: "https://" + asked.Addr() + "/dir"}
		return New(o)
	})
	for range 20 {
		if _, err := f.visit("edge.test", nil); err == nil {
			t.Fatal("served without a certificate")
		}
	}
	if n := asked.Accepted(); n > 1 {
		t.Errorf("the CA was asked %d times", n)
	}
}
