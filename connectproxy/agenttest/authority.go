package agenttest

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"connect-proxy/listener/listenertest"
)

// Authority issues the certificates of agents and their clients.
type Authority struct {
	Cert *x509.Certificate
	// PEM is the certificate again.
	PEM    string
	issuer *listenertest.Certificate
}

// NewAuthority makes a CA that is valid for a year.
func NewAuthority(t testing.TB, name string) *Authority {
	t.Helper()
	return NewAuthorityUntil(t, name, time.Now().Add(365*24*time.Hour))
}

// NewAuthorityUntil makes one that is valid until end.
func NewAuthorityUntil(t testing.TB, name string, end time.Time) *Authority {
	t.Helper()
	ca := listenertest.Issue(t, x509.Certificate{
		Subject:   pkix.Name{CommonName: name},
		NotBefore: end.Add(-366 * 24 * time.Hour), NotAfter: end,
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}, nil)
	return &Authority{Cert: ca.Certificate, PEM: ca.PEM(), issuer: ca}
}

// Issue gives certificate and key, as PEM, of a machine and of a client alike.
func (a *Authority) Issue(t testing.TB, name string, notBefore, notAfter time.Time) (cert, key string) {
	t.Helper()
	c := listenertest.Issue(t, x509.Certificate{
		Subject:   pkix.Name{CommonName: name},
		NotBefore: notBefore, NotAfter: notAfter,
		DNSNames: []string{"localhost", "server.dc1.consul"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, a.issuer)
	return c.PEM(), c.KeyPEM(t)
}

// Year issues a certificate that is far from its end.
func (a *Authority) Year(t testing.TB, name string) (cert, key string) {
	t.Helper()
	return a.Issue(t, name, time.Now().Add(-time.Hour), time.Now().Add(300*24*time.Hour))
}

// TLSPaths are the files of a client.
type TLSPaths struct{ CA, Cert, Key string }

// NewTLSPaths writes them into a new directory: ca, and a certificate for name of
// clients.
func NewTLSPaths(t testing.TB, ca, clients *Authority, name string) TLSPaths {
	t.Helper()
	dir := t.TempDir()
	p := TLSPaths{CA: filepath.Join(dir, "ca.pem"), Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem")}
	WriteFile(t, p.CA, ca.PEM)
	p.Replace(t, clients, name)
	return p
}

// Replace has another certificate and key in the files.
func (p TLSPaths) Replace(t testing.TB, clients *Authority, name string) {
	t.Helper()
	cert, key := clients.Year(t, name)
	WriteFile(t, p.Cert, cert)
	WriteFile(t, p.Key, key)
}

// WriteCA writes a CA into a file of its own, in a directory of its own.
func WriteCA(t testing.TB, ca *Authority) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "ca.pem")
	WriteFile(t, file, ca.PEM)
	return file
}

// WriteFile writes a file that only its owner reads.
func WriteFile(t testing.TB, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// notPrivileged is Windows' ERROR_PRIVILEGE_NOT_HELD.
const notPrivileged = syscall.Errno(1314)

// Symlink makes a symbolic link, and skips the test where Windows has not given its
// user the right to.
func Symlink(t testing.TB, to, link string) {
	t.Helper()
	err := os.Symlink(to, link)
	if runtime.GOOS == "windows" && errors.Is(err, notPrivileged) {
		t.Skipf("links take an administrator or developer mode on windows: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
}
