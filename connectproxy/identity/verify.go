package identity

import (
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"connect-proxy/connectproxy/mtls"
)

// The uses a peer's certificate is put to: it proves a client to a server of
// this program, and a server to its client.
const (
	clientAuth = x509.ExtKeyUsageClientAuth
	serverAuth = x509.ExtKeyUsageServerAuth
)

// peer is what a verified certificate says about who holds its key.
type peer struct {
	id  serviceID
	uri string
	// serial is the certificate's, in the agent's form.
	serial string
	// from and until are when a chain to the roots is valid, skew included.
	from, until time.Time
}

// verifier establishes whose certificate chains to one set of roots. It is built once
// for each set, and remembers what it has verified: signatures are the costly
// part of a handshake, and the same few peers come again and again. It is safe
// for concurrent use.
type verifier struct {
	roots   mtls.Roots
	domains []string // trust domains, lower case, sorted
	now     func() time.Time

	verified *mtls.LRU[mtls.Fingerprint, *peer]
}

func newVerifier(pool *x509.CertPool, domains []string, newest time.Time, now func() time.Time) *verifier {
	return &verifier{
		roots: mtls.Roots{Pool: pool, Newest: newest}, domains: domains, now: now,
		verified: mtls.NewLRU[mtls.Fingerprint, *peer](mtls.MaxVerified),
	}
}

// verify returns who presented certs, the leaf first. It does all that a full
// handshake needs and all that a resumed one does: the chain to the roots for
// the usage, validity, exactly one SPIFFE URI, of a service, in a trust domain
// that a root vouches for.
func (v *verifier) verify(certs []*x509.Certificate, usage x509.ExtKeyUsage) (*peer, error) {
	if len(certs) == 0 {
		return nil, errNoPeerCertificate
	}
	if len(certs) > mtls.MaxChain {
		return nil, fmt.Errorf("peer presented %d certificates, more than %d", len(certs), mtls.MaxChain)
	}
	now := v.now()
	key := mtls.FingerprintOf(certs, usage)
	if p, ok := v.verified.Get(key); ok && !now.Before(p.from) && !now.After(p.until) {
		return p, nil
	}
	p, err := v.examine(certs, usage, now)
	if err != nil {
		return nil, rejection(fmt.Errorf("verifying the peer's certificate: %w", err))
	}
	v.verified.Put(key, p)
	return p, nil
}

var (
	errNoPeerCertificate = errors.New("peer presented no certificate")
	errNoRoot            = errors.New("a trust domain without a root here")
)

// lacksRoot reports whether a verification failed for want of a root, which may be
// one that is on its way.
func lacksRoot(err error) bool { return errors.Is(err, errNoRoot) }

// rejection returns err without the peer's certificates, of the kind that decides what
// is done about it: errNoRoot, a *clockError, or none.
func rejection(err error) error {
	var (
		clock   *clockError
		unknown x509.UnknownAuthorityError
	)
	switch {
	case errors.As(err, &clock):
		return mtls.Rejection(err, clock)
	case errors.As(err, &unknown), errors.Is(err, errNoRoot):
		return mtls.Rejection(err, errNoRoot)
	}
	return mtls.Rejection(err, nil)
}

func (v *verifier) examine(certs []*x509.Certificate, usage x509.ExtKeyUsage, now time.Time) (*peer, error) {
	leaf := certs[0]
	id, err := certificateID(leaf)
	if err != nil {
		return nil, err
	}
	if leaf.IsCA {
		return nil, fmt.Errorf("%s is a certificate authority's", id)
	}
	if !slices.Contains(v.domains, id.domain) {
		return nil, fmt.Errorf("%s is of %w (%s)", id, errNoRoot, strings.Join(v.domains, ", "))
	}
	chains, err := v.roots.Chains(certs, usage, now)
	if clock := asClockError(err, leaf, id, now); clock != nil {
		return nil, clock
	}
	if err != nil {
		return nil, err
	}
	p := &peer{id: id, uri: id.String(), serial: serialNumber(leaf)}
	p.from, p.until = mtls.Validity(chains)
	return p, nil
}
