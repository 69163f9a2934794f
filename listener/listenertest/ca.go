package listenertest

import (
	"cmp"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
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
	Pool   *x509.CertPool
	issuer *Certificate
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
	return newCA(Issue(t, x509.Certificate{
		Subject:               pkix.Name{CommonName: "Test CA " + trustDomain},
		URIs:                  []*url.URL{{Scheme: "spiffe", Host: trustDomain}},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(24 * time.Hour),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}, nil))
}

// CAOf is the authority that a root certificate with its key makes: that of an
// agent, say.
func CAOf(t testing.TB, certPEM string, key *ecdsa.PrivateKey) *CA {
	t.Helper()
	block, _ := pem.Decode([]byte(certPEM))
	if block == nil {
		t.Fatal("the root certificate is no PEM")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatalf("parsing a root certificate: %v", err)
	}
	if len(cert.URIs) == 0 {
		t.Fatal("the root certificate has no trust domain")
	}
	return newCA(&Certificate{cert, key})
}

func newCA(c *Certificate) *CA {
	return &CA{Cert: c.Certificate, CertPEM: c.PEM(), TrustDomain: c.URIs[0].Host, Pool: poolOf(c.Certificate), issuer: c}
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
	leaf := Issue(t, x509.Certificate{
		Subject:     pkix.Name{CommonName: service},
		URIs:        []*url.URL{uri},
		NotBefore:   o.NotBefore,
		NotAfter:    o.NotAfter,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageKeyAgreement,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}, ca.issuer)
	return Leaf{
		Certificate: leaf.TLS(), URI: o.URI, Serial: Serial(leaf.Certificate),
		CertPEM: leaf.PEM(), KeyPEM: leaf.KeyPEM(t),
	}
}

// URI is the SPIFFE ID that the authority gives to a service.
func (ca *CA) URI(service string, o LeafOptions) string {
	partition := ""
	if o.Partition != "" {
		partition = "/ap/" + o.Partition
	}
	return fmt.Sprintf("spiffe://%s%s/ns/%s/dc/%s/svc/%s", ca.TrustDomain, partition,
		cmp.Or(o.Namespace, "default"), cmp.Or(o.Datacenter, "dc1"), service)
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
