package connectproxy

import (
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

const (
	// clockSkew is how far a clock here may lag behind the certificate
	// authority's: a certificate is taken that much before its time. Consul
	// dates leaf certificates a minute back for this, but not its roots, so
	// that after a rotation a clock that is a second late would refuse everyone.
	clockSkew = 5 * time.Minute
	// maxVerified bounds the certificates remembered as verified, some 300
	// bytes each.
	maxVerified = 4096
	// maxChain bounds the certificates a peer may present.
	maxChain = 10
)

// The uses a peer's certificate is put to: it proves a client to our server,
// and a server to our client.
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

// verifier tells whose certificate chains to one set of roots. It is built once
// for each set, and remembers what it has verified: signatures are the costly
// part of a handshake, and the same few peers come again and again. It is safe
// for concurrent use.
type verifier struct {
	pool    *x509.CertPool
	domains []string // trust domains, lower case, sorted
	// newest is the latest start of a root's validity.
	newest time.Time
	now    func() time.Time

	verified *lru[fingerprint, *peer]
}

// fingerprint stands for all that a verification depends on: the certificate,
// what came with it, and the use it is put to.
type fingerprint struct {
	leaf, chain [sha256.Size]byte
	usage       x509.ExtKeyUsage
}

func newVerifier(pool *x509.CertPool, domains []string, newest time.Time, now func() time.Time) *verifier {
	return &verifier{
		pool: pool, domains: domains, newest: newest, now: now,
		verified: newLRU[fingerprint, *peer](maxVerified),
	}
}

// verify says who presented certs, the leaf first. It does all that a full
// handshake needs and all that a resumed one does: the chain to the roots for
// the usage, validity, exactly one SPIFFE URI, of a service, in a trust domain
// that a root vouches for.
func (v *verifier) verify(certs []*x509.Certificate, usage x509.ExtKeyUsage) (*peer, error) {
	if len(certs) == 0 {
		return nil, errNoPeerCertificate
	}
	if len(certs) > maxChain {
		return nil, fmt.Errorf("peer presented %d certificates, more than %d", len(certs), maxChain)
	}
	now := v.now()
	key := fingerprintOf(certs, usage)
	if p, ok := v.verified.get(key); ok && !now.Before(p.from) && !now.After(p.until) {
		return p, nil
	}
	p, err := v.examine(certs, usage, now)
	if err != nil {
		return nil, fmt.Errorf("verifying the peer's certificate: %w", err)
	}
	v.verified.put(key, p)
	return p, nil
}

var (
	errNoPeerCertificate = errors.New("peer presented no certificate")
	errNoRoot            = errors.New("a trust domain without a root here")
)

// lacksRoot reports that a verification failed for want of a root, which may be
// one that is on its way.
func lacksRoot(err error) bool {
	var unknown x509.UnknownAuthorityError
	return errors.Is(err, errNoRoot) || errors.As(err, &unknown)
}

func fingerprintOf(certs []*x509.Certificate, usage x509.ExtKeyUsage) fingerprint {
	f := fingerprint{leaf: sha256.Sum256(certs[0].Raw), usage: usage}
	var link [2 * sha256.Size]byte
	for _, c := range certs[1:] {
		sum := sha256.Sum256(c.Raw)
		copy(link[:], f.chain[:])
		copy(link[sha256.Size:], sum[:])
		f.chain = sha256.Sum256(link[:])
	}
	return f
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
	chains, err := v.chains(certs, usage, now)
	if clock := untimely(err, leaf, id, now); clock != nil {
		return nil, clock
	}
	if err != nil {
		return nil, err
	}
	p := &peer{id: id, uri: id.String(), serial: serialNumber(leaf)}
	for _, chain := range chains {
		from, until := validity(chain)
		if p.until.IsZero() || until.After(p.until) {
			p.from, p.until = from.Add(-clockSkew), until
		}
	}
	return p, nil
}

// chains are the ways from the leaf to a root. Where one of the certificates
// is of the near future by this clock, it is judged by a clock that is not late.
func (v *verifier) chains(certs []*x509.Certificate, usage x509.ExtKeyUsage, now time.Time) ([][]*x509.Certificate, error) {
	o := x509.VerifyOptions{
		Roots:         v.pool,
		Intermediates: x509.NewCertPool(),
		CurrentTime:   now,
		KeyUsages:     []x509.ExtKeyUsage{usage},
	}
	newest := v.newest
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
		o.CurrentTime = now.Add(clockSkew)
		chains, err = certs[0].Verify(o)
	}
	return chains, err
}

// validity is the time for which every certificate of a chain is valid.
func validity(chain []*x509.Certificate) (from, until time.Time) {
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
