package identity

import (
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"connect-proxy/connectproxy/mtls"
)

// clockError is a certificate whose time is over or has not come by the clock
// of this machine. Which of the two is wrong it cannot tell, so it names both.
type clockError struct {
	what        string // whose certificate
	from, until time.Time
	now         time.Time
}

func (e *clockError) Error() string {
	if e.now.After(e.until) {
		return fmt.Sprintf("%s has expired at %s, and the clock here says %s", e.what, timestamp(e.until), timestamp(e.now))
	}
	return fmt.Sprintf("%s is not valid before %s, and the clock here says %s: set the clock that is wrong, here or where it was issued",
		e.what, timestamp(e.from), timestamp(e.now))
}

func isClockError(err error) bool {
	var clock *clockError
	return errors.As(err, &clock)
}

// asClockError makes a clockError of what crypto/x509 says of a chain that begins
// with the certificate of id, or returns nil where err is another.
func asClockError(err error, leaf *x509.Certificate, id serviceID, now time.Time) error {
	var invalid x509.CertificateInvalidError
	if !errors.As(err, &invalid) || invalid.Reason != x509.Expired || invalid.Cert == nil {
		return nil
	}
	what := fmt.Sprintf("the certificate of %.400s", id)
	if !invalid.Cert.Equal(leaf) {
		what = authorityName(invalid.Cert)
	}
	return &clockError{what: what, from: invalid.Cert.NotBefore, until: invalid.Cert.NotAfter, now: now}
}

func authorityName(c *x509.Certificate) string {
	return fmt.Sprintf("the CA certificate %.100q", c.Subject.CommonName)
}

// window is the time in which a leaf can be shown: its own, and that of the
// certificates that vouch for it.
type window struct {
	from, until     time.Time
	fromOf, untilOf string // the certificate that sets the bound
}

func (w *window) narrow(what string, c *x509.Certificate) {
	if w.fromOf == "" || c.NotBefore.After(w.from) {
		w.from, w.fromOf = c.NotBefore, what
	}
	if w.untilOf == "" || c.NotAfter.Before(w.until) {
		w.until, w.untilOf = c.NotAfter, what
	}
}

// check returns a *clockError outside of the window. A clock that is behind by
// no more than the peers' tolerance passes.
func (w *window) check(now time.Time) error {
	switch {
	case now.After(w.until):
		return &clockError{what: w.untilOf, from: w.from, until: w.until, now: now}
	case now.Add(mtls.ClockSkew).Before(w.from):
		return &clockError{what: w.fromOf, from: w.from, until: w.until, now: now}
	}
	return nil
}

const leafName = "leaf certificate"

// windowOf returns l's under the roots r. Where they do not vouch for l at all, it is
// the leaf's own.
func windowOf(l *leafCert, r *rootSet, now time.Time) window {
	var w window
	w.narrow(leafName, l.cert.Leaf)
	certs, err := parseChain(l)
	if err != nil {
		return w
	}
	if now.Before(w.from) {
		now = w.from
	} else if now.After(w.until) {
		now = w.until
	}
	chains, err := r.verifier.roots.Chains(certs, serverAuth, now)
	var invalid x509.CertificateInvalidError
	if errors.As(err, &invalid) && invalid.Reason == x509.Expired && invalid.Cert != nil {
		w.narrow(authorityName(invalid.Cert), invalid.Cert)
	}
	var best window
	for _, chain := range chains {
		one := w
		for _, c := range chain[1:] {
			one.narrow(authorityName(c), c)
		}
		if best.untilOf == "" || one.until.After(best.until) {
			best = one
		}
	}
	if len(chains) > 0 {
		return best
	}
	return w
}
