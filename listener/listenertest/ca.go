package listenertest

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/url"
	"strings"
	"testing"
	"time"
)

// CA is a Connect certificate authority: ECDSA P-256, as Consul's own. Each has
// a trust domain of its own, so two of them are foreign to each other.
type CA struct {
	Cert        *x509.Certificate
	CertPEM     string
	TrustDomain string
	// Pool holds Cert alone.
	Pool *x509.CertPool
	key  *ecdsa.PrivateKey
}

// NewCA makes a root certificate, valid for a day.
func NewCA(t testing.TB) *CA {
	t.Helper()
	return NewCAFor(t, hex.EncodeToString(random(t, 8))+".consul")
}

// NewCAFor makes a root certificate for a trust domain: a second one for the
// same is what a rotation of the root brings.
func NewCAFor(t testing.TB, trustDomain string) *CA {
	t.Helper()
	key := newKey(t)
	template := &x509.Certificate{
		SerialNumber:          new(big.Int).SetBytes(random(t, 15)),
		Subject:               pkix.Name{CommonName: "Test CA " + trustDomain},
		URIs:                  []*url.URL{{Scheme: "spiffe", Host: trustDomain}},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(24 * time.Hour),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	cert, certPEM := sign(t, template, template, &key.PublicKey, key)
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return &CA{Cert: cert, CertPEM: certPEM, TrustDomain: trustDomain, Pool: pool, key: key}
}

// LeafOptions say what is not ordinary about a leaf.
type LeafOptions struct {
	// Namespace and Datacenter are "default" and "dc1" when empty; Partition is
	// left out of the URI then.
	Namespace, Partition, Datacenter string
	// URI replaces the one made of the service's name.
	URI string
	// NotBefore and NotAfter are an hour ago and in an hour when zero.
	NotBefore, NotAfter time.Time
}

// Leaf is a service's certificate with its key.
type Leaf struct {
	tls.Certificate
	URI string
	// Serial is in hex with colons, as an agent shows it.
	Serial          string
	CertPEM, KeyPEM string
}

// Leaf issues the certificate of a service.
func (ca *CA) Leaf(t testing.TB, service string) Leaf {
	t.Helper()
	return ca.LeafWith(t, service, LeafOptions{})
}

// LeafWith issues the certificate of a service: one that has expired, is not
// valid yet, or stands for another namespace.
func (ca *CA) LeafWith(t testing.TB, service string, o LeafOptions) Leaf {
	t.Helper()
	if o.URI == "" {
		o.URI = ca.URI(service, o)
	}
	uri, err := url.Parse(o.URI)
	if err != nil {
		t.Fatalf("parsing the URI of a leaf: %v", err)
	}
	if o.NotBefore.IsZero() {
		o.NotBefore = time.Now().Add(-time.Hour)
	}
	if o.NotAfter.IsZero() {
		o.NotAfter = time.Now().Add(time.Hour)
	}
	key := newKey(t)
	cert, certPEM := sign(t, &x509.Certificate{
		SerialNumber: new(big.Int).SetBytes(random(t, 15)),
		Subject:      pkix.Name{CommonName: service},
		URIs:         []*url.URL{uri},
		NotBefore:    o.NotBefore,
		NotAfter:     o.NotAfter,
		KeyUsage:     x509.KeyUsageDigitalSignature | x509.KeyUsageKeyAgreement,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}, ca.Cert, &key.PublicKey, ca.key)
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatalf("encoding a key: %v", err)
	}
	return Leaf{
		Certificate: tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key, Leaf: cert},
		URI:         o.URI,
		Serial:      Serial(cert),
		CertPEM:     certPEM,
		KeyPEM:      string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER})),
	}
}

// URI is the SPIFFE ID that the authority gives to a service.
func (ca *CA) URI(service string, o LeafOptions) string {
	partition := ""
	if o.Partition != "" {
		partition = "/ap/" + o.Partition
	}
	return fmt.Sprintf("spiffe://%s%s/ns/%s/dc/%s/svc/%s", ca.TrustDomain, partition,
		either(o.Namespace, "default"), either(o.Datacenter, "dc1"), service)
}

// ServerTLS is the configuration of a server that wants a certificate of this
// authority from its clients, under whatever name, as every Connect proxy does.
func (ca *CA) ServerTLS(leaf Leaf) *tls.Config {
	return &tls.Config{
		MinVersion:   tls.VersionTLS12,
		Certificates: []tls.Certificate{leaf.Certificate},
		ClientAuth:   tls.RequireAndVerifyClientCert,
		ClientCAs:    ca.Pool,
	}
}

// ClientTLS is the configuration of a client that trusts this authority and
// takes any name. The leaf need not be this authority's.
func (ca *CA) ClientTLS(leaf Leaf) *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		Certificates:       []tls.Certificate{leaf.Certificate},
		InsecureSkipVerify: true, // by name; the chain is checked below
		VerifyConnection: func(s tls.ConnectionState) error {
			if len(s.PeerCertificates) == 0 {
				return errors.New("server has no certificate")
			}
			_, err := s.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: ca.Pool})
			return err
		},
	}
}

// Serial writes a certificate's serial number as an agent does: aa:bb:cc.
func Serial(cert *x509.Certificate) string {
	digits := hex.EncodeToString(cert.SerialNumber.Bytes())
	var b strings.Builder
	for i := 0; i < len(digits); i += 2 {
		if i > 0 {
			b.WriteByte(':')
		}
		b.WriteString(digits[i : i+2])
	}
	return b.String()
}

func sign(t testing.TB, template, parent *x509.Certificate, pub *ecdsa.PublicKey, key *ecdsa.PrivateKey) (*x509.Certificate, string) {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, pub, key)
	if err != nil {
		t.Fatalf("signing a certificate: %v", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatalf("parsing a certificate: %v", err)
	}
	var b bytes.Buffer
	if err := pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: der}); err != nil {
		t.Fatalf("encoding a certificate: %v", err)
	}
	return cert, b.String()
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatalf("making a key: %v", err)
	}
	return key
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

func either(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
