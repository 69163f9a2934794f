package pebble

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"connect-proxy/connectproxy/agenttest"
	"connect-proxy/connectproxy/agenttest/agentbuild"
	"connect-proxy/listener/listenertest"
)

// Server is a running ACME server.
type Server struct {
	t testing.TB
	// DirectoryURL is where it is asked, and CAFile the CA of its own certificate.
	DirectoryURL, CAFile string
	management           string
	client               *http.Client
	process              *exec.Cmd
	output               strings.Builder
}

// Start runs a server until the test ends that looks for hosts at a port of
// 127.0.0.1, and whose certificates are valid for so long.
func Start(t testing.TB, port int, validity time.Duration) *Server {
	t.Helper()
	path := program(t)
	dir := t.TempDir()
	own := listenertest.Issue(t, x509.Certificate{DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}, nil)
	first := agenttest.FreePorts(t, 2)
	s := &Server{
		t: t, CAFile: write(t, dir, "cert.pem", []byte(own.PEM())),
		DirectoryURL: fmt.Sprintf("https://127.0.0.1:%d/dir", first),
		management:   fmt.Sprintf("https://127.0.0.1:%d", first+1),
	}
	roots := x509.NewCertPool()
	roots.AddCert(own.Certificate)
	s.client = &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
	}}
	profile := map[string]any{"description": "of tests", "validityPeriod": int(validity.Seconds())}
	configuration, err := json.Marshal(map[string]any{"pebble": map[string]any{
		"listenAddress": fmt.Sprintf("127.0.0.1:%d", first), "managementListenAddress": fmt.Sprintf("127.0.0.1:%d", first+1),
		"certificate": s.CAFile, "privateKey": write(t, dir, "key.pem", []byte(own.KeyPEM(t))),
		"httpPort": 1, "tlsPort": port, "keyAlgorithm": "ecdsa",
		"retryAfter": map[string]any{"authz": 1, "order": 1}, "profiles": map[string]any{"default": profile},
	}})
	if err != nil {
		t.Fatal(err)
	}
	s.process = exec.CommandContext(t.Context(), path, "-config", write(t, dir, "pebble.json", configuration), "-dnsserver", resolver(t))
	s.process.Env = append(os.Environ(), "PEBBLE_VA_NOSLEEP=1")
	s.process.Stdout, s.process.Stderr = &s.output, &s.output
	if err := s.process.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = s.process.Process.Kill()
		_ = s.process.Wait()
		if t.Failed() {
			t.Logf("pebble said:\n%s", &s.output)
		}
	})
	listenertest.Eventually(t, "the ACME server answers", func() bool { return s.get(s.DirectoryURL) != nil })
	return s
}

// Kill ends the server.
func (s *Server) Kill() { _ = s.process.Process.Kill() }

// Roots are the CAs of the certificates that it gives.
func (s *Server) Roots() *x509.CertPool {
	s.t.Helper()
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(s.get(s.management + "/roots/0")) {
		s.t.Fatal("the ACME server shows no root")
	}
	return pool
}

// get is what a page says, nil if it does not answer.
func (s *Server) get(url string) []byte {
	r, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, url, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	answer, err := s.client.Do(r)
	if err != nil {
		return nil
	}
	defer func() { _ = answer.Body.Close() }()
	b, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		return nil
	}
	return b
}

func write(t testing.TB, dir, name string, b []byte) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// building is held while the program is built.
var building sync.Mutex

// program builds the server and returns its path.
func program(t testing.TB) string {
	t.Helper()
	if testing.Short() {
		t.Skip("builds and runs an ACME server: not with -short")
	}
	building.Lock()
	defer building.Unlock()
	path, err := build(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func build(ctx context.Context) (string, error) {
	root, err := agentbuild.Root()
	if err != nil {
		return "", err
	}
	module := filepath.Join(root, "testdata", "pebble")
	h := sha256.New()
	fmt.Fprintln(h, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	for _, name := range []string{"go.mod", "go.sum"} {
		b, err := os.ReadFile(filepath.Join(module, name))
		if err != nil {
			return "", err
		}
		h.Write(b)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	kept := filepath.Join(cache, "connect-proxy", "pebble-"+hex.EncodeToString(h.Sum(nil)[:6]))
	if _, err := os.Stat(kept); err == nil {
		return kept, nil
	}
	half := fmt.Sprintf("%s.%d", kept, os.Getpid())
	cmd := exec.CommandContext(ctx, "go", "build", "-mod=readonly", "-ldflags=-s -w", "-o", half, "github.com/letsencrypt/pebble/v2/cmd/pebble")
	cmd.Dir, cmd.Env = module, append(os.Environ(), "GOWORK=off", "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building an ACME server: %w\n%s", err, out)
	}
	return kept, os.Rename(half, kept)
}
