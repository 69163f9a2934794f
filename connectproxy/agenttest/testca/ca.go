package testca

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"connect-proxy/listener/listenertest"
)

// CA is a certificate authority.
type CA struct {
	Cert *x509.Certificate
	// PEM is its certificate.
	PEM    string
	issuer *listenertest.Certificate
}

// New makes one that is valid for a day.
func New(t testing.TB, name string) *CA {
	t.Helper()
	ca := listenertest.Issue(t, x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}, nil)
	return &CA{Cert: ca.Certificate, PEM: ca.PEM(), issuer: ca}
}

// Pair is a certificate with its key.
type Pair struct {
	Certificate tls.Certificate
	// Cert and Key are both in PEM form.
	Cert, Key string
}

// Issue makes a certificate for names, each as a pattern of package allowlist has
// it: spiffe://a/b, dns:name, cn:name, and ip:address. It is valid for a day and
// for both sides of a connection, unless change says otherwise.
func (ca *CA) Issue(t testing.TB, names []string, change ...func(*x509.Certificate)) Pair {
	t.Helper()
	template := x509.Certificate{
		BasicConstraintsValid: true,
		NotBefore:             time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, name := range names {
		kind, rest, _ := strings.Cut(name, ":")
		switch kind {
		case "dns":
			template.DNSNames = append(template.DNSNames, rest)
		case "cn":
			template.Subject.CommonName = rest
		case "ip":
			template.IPAddresses = append(template.IPAddresses, net.ParseIP(rest))
		default:
			u, err := url.Parse(name)
			if err != nil {
				t.Fatal(err)
			}
			template.URIs = append(template.URIs, u)
		}
	}
	for _, f := range change {
		f(&template)
	}
	cert := listenertest.Issue(t, template, ca.issuer)
	der, err := x509.MarshalPKCS8PrivateKey(cert.Key)
	if err != nil {
		t.Fatal(err)
	}
	return Pair{
		Certificate: cert.TLS(),
		Cert:        cert.PEM(),
		Key:         string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
	}
}

// Expired is a change of Issue: the certificate's time is over.
func Expired(c *x509.Certificate) {
	c.NotBefore, c.NotAfter = time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour)
}

// For is a change of Issue: the certificate is for that use alone.
func For(use x509.ExtKeyUsage) func(*x509.Certificate) {
	return func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{use} }
}

// Write writes ca.pem, cert.pem and key.pem into dir, each replaced at once.
func (ca *CA) Write(t testing.TB, dir string, p Pair) {
	t.Helper()
	for name, text := range map[string]string{"ca.pem": ca.PEM, "cert.pem": p.Cert, "key.pem": p.Key} {
		WriteFile(t, filepath.Join(dir, name), text)
	}
}

// WriteFile replaces a file at once.
func WriteFile(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// Pool is the CA as those who trust it have it.
func (ca *CA) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(ca.Cert)
	return pool
}
