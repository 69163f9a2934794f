package static

import (
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"connect-proxy/connectproxy/mtls"
)

// verifier establishes whose certificate chains to one set of CAs, and remembers
// it for as long as that holds: signatures are the costly part of a handshake. It
// is safe for concurrent use.
type verifier struct {
	roots    mtls.Roots
	now      func() time.Time
	verified *mtls.LRU[mtls.Fingerprint, validity]
}

// validity is when a chain is valid.
type validity struct{ from, until time.Time }

func newVerifier(pool *x509.CertPool, cas []*x509.Certificate, now func() time.Time) *verifier {
	v := &verifier{roots: mtls.Roots{Pool: pool}, now: now, verified: mtls.NewLRU[mtls.Fingerprint, validity](mtls.MaxVerified)}
	for _, ca := range cas {
		if ca.NotBefore.After(v.roots.Newest) {
			v.roots.Newest = ca.NotBefore
		}
	}
	return v
}

var (
	errNoPeerCertificate = errors.New("peer presented no certificate")
	errNoCAs             = errors.New("there is no CA to verify the peer's certificate with")
	errPeerIsCA          = errors.New("the peer presented the certificate of a CA as its own")
)

// verify judges what a peer presented, the leaf first, for a use.
func (v *verifier) verify(certs []*x509.Certificate, usage x509.ExtKeyUsage) error {
	switch {
	case len(certs) == 0:
		return errNoPeerCertificate
	case len(certs) > mtls.MaxChain:
		return fmt.Errorf("peer presented %d certificates, more than %d", len(certs), mtls.MaxChain)
	case v.roots.Pool == nil: // or x509 would take those of the system
		return errNoCAs
	case certs[0].IsCA:
		return errPeerIsCA
	}
	now := v.now()
	key := mtls.FingerprintOf(certs, usage)
	if known, ok := v.verified.Get(key); ok && !now.Before(known.from) && !now.After(known.until) {
		return nil
	}
	chains, err := v.roots.Chains(certs, usage, now)
	if err != nil {
		return rejection(fmt.Errorf("verifying the peer's certificate: %w", err))
	}
	var valid validity
	valid.from, valid.until = mtls.Validity(chains)
	v.verified.Put(key, valid)
	return nil
}

// errExpired is the kind of a rejection for which isExpired holds.
var errExpired = errors.New("a certificate has expired or is not valid yet")

// isExpired reports that a certificate's time is over or has not come.
func isExpired(err error) bool { return errors.Is(err, errExpired) }

// rejection returns err without the peer's certificates.
func rejection(err error) error {
	var invalid x509.CertificateInvalidError
	if errors.As(err, &invalid) && invalid.Reason == x509.Expired {
		return mtls.Rejection(err, errExpired)
	}
	return mtls.Rejection(err, nil)
}
