package mtls

import (
	"crypto/sha256"
	"crypto/x509"
	"time"
)

const (
	// ClockSkew is how far a clock here may lag behind the certificate
	// authority's: a certificate is taken that much before its time. Consul
	// dates leaf certificates a minute back for this, but not its roots, so
	// that after a rotation a clock that is a second late would refuse everyone.
	ClockSkew = 5 * time.Minute
	// MaxChain is how many certificates a peer may present, its own included.
	MaxChain = 10
	// MaxVerified is how many verified chains are remembered for a set of roots.
	MaxVerified = 4096
)

// Fingerprint stands for what a peer's part in a verification is: its certificate,
// those that came with it in their order, and the use it is put to. Two that are
// equal verify alike by the same roots at the same time.
type Fingerprint struct {
	leaf, chain [sha256.Size]byte
	usage       x509.ExtKeyUsage
}

// FingerprintOf returns the fingerprint of what a peer presented, the leaf first.
// It panics where there is no certificate.
func FingerprintOf(certs []*x509.Certificate, usage x509.ExtKeyUsage) Fingerprint {
	f := Fingerprint{leaf: sha256.Sum256(certs[0].Raw), usage: usage}
	var link [2 * sha256.Size]byte
	for _, c := range certs[1:] {
		sum := sha256.Sum256(c.Raw)
		copy(link[:], f.chain[:])
		copy(link[sha256.Size:], sum[:])
		f.chain = sha256.Sum256(link[:])
	}
	return f
}

// Roots are the certificate authorities that are trusted.
type Roots struct {
	// Pool has the roots. A nil one must not be used: crypto/x509 takes the
	// system's authorities in its place.
	Pool *x509.CertPool
	// Newest is the latest NotBefore of a root, for Chains; zero judges by the
	// other certificates alone.
	Newest time.Time
}

// Chains returns the chains from the leaf, which comes first of certs, to a root,
// for a use and as of now. Where no chain is valid and a certificate begins later
// than now, the chains are those of ClockSkew later. The error is crypto/x509's. It
// panics where there is no certificate.
func (r Roots) Chains(certs []*x509.Certificate, usage x509.ExtKeyUsage, now time.Time) ([][]*x509.Certificate, error) {
	o := x509.VerifyOptions{
		Roots:         r.Pool,
		Intermediates: x509.NewCertPool(),
		CurrentTime:   now,
		KeyUsages:     []x509.ExtKeyUsage{usage},
	}
	newest := r.Newest
	for _, c := range certs {
		if c.NotBefore.After(newest) {
			newest = c.NotBefore
		}
	}
	for _, c := range certs[1:] {
		o.Intermediates.AddCert(c)
	}
	chains, err := certs[0].Verify(o)
	if err != nil && newest.After(now) {
		o.CurrentTime = now.Add(ClockSkew)
		chains, err = certs[0].Verify(o)
	}
	return chains, err
}

// Validity returns the time for which the chain that ends last is valid. It begins
// ClockSkew before the certificates say, since Chains accepts it then. Both times
// are zero where there is no chain.
func Validity(chains [][]*x509.Certificate) (from, until time.Time) {
	for _, chain := range chains {
		begins, ends := validityOf(chain)
		if until.IsZero() || ends.After(until) {
			from, until = begins.Add(-ClockSkew), ends
		}
	}
	return from, until
}

// validityOf returns the time for which every certificate of a chain is valid.
func validityOf(chain []*x509.Certificate) (from, until time.Time) {
	for i, c := range chain {
		if i == 0 || c.NotBefore.After(from) {
			from = c.NotBefore
		}
		if i == 0 || c.NotAfter.Before(until) {
			until = c.NotAfter
		}
	}
	return from, until
}
