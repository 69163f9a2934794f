package listenertest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"testing"
	"time"
)

// Certificate is a certificate with its key, an authority's or a leaf.
type Certificate struct {
	*x509.Certificate
	Key *ecdsa.PrivateKey
}

// Issue makes a key and a certificate for it from template, signed by an
// authority, or by itself where by is nil. A template without a serial number
// gets one.
func Issue(t testing.TB, template x509.Certificate, by *Certificate) *Certificate {
	t.Helper()
	return IssueFor(t, template, by, NewKey(t))
}

// IssueFor is Issue with a key that there is already.
func IssueFor(t testing.TB, template x509.Certificate, by *Certificate, key *ecdsa.PrivateKey) *Certificate {
	t.Helper()
	if template.SerialNumber == nil {
		template.SerialNumber = new(big.Int).SetBytes(random(t, 15))
	}
	if by == nil {
		by = &Certificate{&template, key}
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, by.Certificate, &key.PublicKey, by.Key)
	if err != nil {
		t.Fatalf("signing a certificate: %v", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatalf("parsing a certificate: %v", err)
	}
	return &Certificate{cert, key}
}

// PEM is the certificate as text.
func (c *Certificate) PEM() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
}

// KeyPEM is the key as text, in the form in which an agent gives it.
func (c *Certificate) KeyPEM(t testing.TB) string {
	t.Helper()
	der, err := x509.MarshalECPrivateKey(c.Key)
	if err != nil {
		t.Fatalf("encoding a key: %v", err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}))
}

// TLS is the certificate for a tls.Config.
func (c *Certificate) TLS() tls.Certificate {
	return tls.Certificate{Certificate: [][]byte{c.Raw}, PrivateKey: c.Key, Leaf: c.Certificate}
}

// TLSPair are the configurations of a server and a client that trust each other.
func TLSPair(t testing.TB) (server, client *tls.Config) {
	t.Helper()
	cert := Issue(t, x509.Certificate{
		DNSNames: []string{"test"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage:  x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}, nil)
	both := []tls.Certificate{cert.TLS()}
	server = &tls.Config{Certificates: both, ClientAuth: tls.RequireAnyClientCert}
	return server, &tls.Config{Certificates: both, RootCAs: poolOf(cert.Certificate), ServerName: "test"}
}

// NewKey makes a key as Consul's authority and its leafs have them.
func NewKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatalf("making a key: %v", err)
	}
	return key
}

func poolOf(cert *x509.Certificate) *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return pool
}

func random(t testing.TB, n int) []byte {
	t.Helper()
	b := make([]byte, n)
	if _, err := rand.Read(b); err != nil {
		t.Fatalf("reading random bytes: %v", err)
	}
	b[0] |= 1 // a serial number of n bytes, not fewer
	return b
}
