package fakeagent

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/url"
	"strings"
	"time"
)

// rootLife is Consul's.
const rootLife = 10 * 365 * 24 * time.Hour

// authority is the CA: one active root and those it has replaced.
type authority struct {
	roots  []*root
	index  uint64
	serial int64
}

type root struct {
	cert        *x509.Certificate
	key         *ecdsa.PrivateKey
	pem         string
	trustDomain string
	// crossSigned is this root signed by the one before it, in PEM, if it is.
	crossSigned []string
	index       uint64
}

type rootOptions struct {
	trustDomain string
	crossSign   bool
	dropOld     bool
	index       uint64
}

// active is the root that signs.
func (c *authority) active() *root { return c.roots[len(c.roots)-1] }

// add makes a new active root.
func (c *authority) add(o rootOptions) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	now := time.Now()
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		return err
	}
	id := sha256.Sum256(public)
	c.serial++
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(c.serial),
		Subject:               pkix.Name{CommonName: fmt.Sprintf("pri-%x.consul.ca.%.8s.consul", id[:4], o.trustDomain)},
		URIs:                  []*url.URL{{Scheme: "spiffe", Host: o.trustDomain}},
		NotBefore:             now.Add(-time.Minute),
		NotAfter:              now.Add(rootLife),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature,
		BasicConstraintsValid: true,
		IsCA:                  true,
		SubjectKeyId:          id[:],
		AuthorityKeyId:        id[:],
	}
	r := &root{key: key, trustDomain: o.trustDomain, index: o.index}
	if r.cert, r.pem, err = sign(template, template, &key.PublicKey, key); err != nil {
		return err
	}
	if o.crossSign && len(c.roots) > 0 {
		old := c.active()
		template.AuthorityKeyId = nil
		_, crossed, err := sign(template, old.cert, &key.PublicKey, old.key)
		if err != nil {
			return err
		}
		r.crossSigned = []string{crossed}
	}
	if o.dropOld {
		c.roots = nil
	}
	c.roots, c.index = append(c.roots, r), o.index
	return nil
}

func sign(template, parent *x509.Certificate, public *ecdsa.PublicKey, key *ecdsa.PrivateKey) (*x509.Certificate, string, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, key)
	if err != nil {
		return nil, "", err
	}
	cert, err := x509.ParseCertificate(der)
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return cert, string(text), err
}

// colonHex is how Consul writes serial numbers and fingerprints.
func colonHex(b []byte) string {
	parts := make([]string, len(b))
	for i, x := range b {
		parts[i] = fmt.Sprintf("%02x", x)
	}
	return strings.Join(parts, ":")
}

func (r *root) id() string {
	sum := sha1.Sum(r.cert.Raw)
	return colonHex(sum[:])
}

func newTrustDomain() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails, says crypto/rand
	return fmt.Sprintf("%x-%x-%x-%x-%x.consul", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
