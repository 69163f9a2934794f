package devagent

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
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

const (
	// rootLife and backdate are Consul's: how long a root lives, and how long
	// before its making a certificate begins.
	rootLife = 10 * 365 * 24 * time.Hour
	backdate = time.Minute
)

// authority is the CA: one active root and those that it has replaced. The
// caller of its methods holds the agent's lock.
type authority struct {
	roots  []*root // the active one last
	index  uint64
	serial int64
}

type root struct {
	cert        *x509.Certificate
	key         crypto.Signer
	pem         string
	trustDomain string
	// crossSigned is this root as signed by the one before it, in PEM.
	crossSigned []string
	index       uint64
}

type newRoot struct {
	trustDomain string
	// key is the root's; nil makes one.
	key   crypto.Signer
	index uint64
}

// active is the root that signs.
func (c *authority) active() *root { return c.roots[len(c.roots)-1] }

// add makes a new active root, which the one before it signs too. The oldest is
// forgotten when there are many.
func (c *authority) add(o newRoot) error {
	if o.key == nil {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return err
		}
		o.key = key
	}
	public, err := x509.MarshalPKIXPublicKey(o.key.Public())
	if err != nil {
		return err
	}
	id := sha256.Sum256(public)
	c.serial++
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(c.serial),
		Subject:               pkix.Name{CommonName: fmt.Sprintf("pri-%x.consul.ca.%.8s.consul", id[:4], o.trustDomain)},
		URIs:                  []*url.URL{{Scheme: "spiffe", Host: o.trustDomain}},
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(rootLife),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature,
		BasicConstraintsValid: true,
		IsCA:                  true,
		SubjectKeyId:          id[:],
		AuthorityKeyId:        id[:],
	}
	r := &root{key: o.key, trustDomain: o.trustDomain, index: o.index}
	if r.cert, r.pem, err = sign(template, template, o.key.Public(), o.key); err != nil {
		return err
	}
	if len(c.roots) > 0 {
		old := c.active()
		template.AuthorityKeyId = nil
		_, crossed, err := sign(template, old.cert, o.key.Public(), old.key)
		if err != nil {
			return err
		}
		r.crossSigned = []string{crossed}
	}
	c.roots, c.index = append(c.roots, r), o.index
	if len(c.roots) > maxRoots {
		c.roots = c.roots[len(c.roots)-maxRoots:]
	}
	return nil
}

func sign(template, parent *x509.Certificate, public crypto.PublicKey, key crypto.Signer) (*x509.Certificate, string, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, key)
	if err != nil {
		return nil, "", err
	}
	cert, err := x509.ParseCertificate(der)
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return cert, string(text), err
}

// id is the root's in the form that Consul gives it, a fingerprint of its
// certificate. Consul's are SHA-1, which FIPS 140-3 mode does not allow.
func (r *root) id() string {
	sum := sha256.Sum256(r.cert.Raw)
	return colonHex(sum[:20])
}

// colonHex is how Consul writes serial numbers and fingerprints.
func colonHex(b []byte) string {
	parts := make([]string, len(b))
	for i, x := range b {
		parts[i] = fmt.Sprintf("%02x", x)
	}
	return strings.Join(parts, ":")
}

// newUUID is random.
func newUUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails, says crypto/rand
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
