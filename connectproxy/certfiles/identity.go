package certfiles

import (
	"cmp"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"time"
)

// Identity is what the files hold at one moment. It must not be changed.
type Identity struct {
	// Certificate has the certificate, the intermediate ones that are sent along,
	// and the key.
	Certificate tls.Certificate
	// CAs are those to trust, and Roots the same as a pool. Both are nil where no
	// file has any; crypto/tls would take those of the system then.
	CAs   []*x509.Certificate
	Roots *x509.CertPool
	// NotBefore and NotAfter bound the time in which every certificate that is sent
	// is valid.
	NotBefore, NotAfter time.Time

	file   string // of the certificate
	sum    [sha256.Size]byte
	unwise []string
}

// identityOf makes an identity of what was read, or says which files are wrong.
func (f *Files) identityOf(c content) (*Identity, error) {
	wrong := c.unread
	identity := &Identity{sum: c.sum, file: cmp.Or(f.o.PKCS12, f.o.Certificate)}
	var cas []*x509.Certificate
	var err error
	switch {
	case f.o.PKCS12 == "":
		identity.Certificate, err = parsePair(f.o.Certificate, c.certificate, f.keyFile(), c.key)
	case len(c.unread) == 0: // or it lacks its password
		identity.Certificate, cas, err = parsePKCS12(f.o.PKCS12, c.pkcs12, c.password)
	}
	wrong = wrong.and(err)
	if c.ca != nil {
		cas, err = parseCAs(f.o.CA, c.ca)
		wrong = wrong.and(err)
	}
	if len(wrong) == 0 && len(cas) == 0 && f.o.NeedsCA {
		wrong = faults{fmt.Errorf("%s holds no CA to trust: name a PEM file of CAs too", identity.file)}
	}
	if len(wrong) > 0 {
		return nil, wrong
	}
	if identity.CAs = cas; len(cas) > 0 {
		identity.Roots = x509.NewCertPool()
		for _, ca := range cas {
			identity.Roots.AddCert(ca)
		}
	}
	if err := identity.bound(); err != nil {
		return nil, err
	}
	identity.unwise = f.unwise()
	return identity, nil
}

// bound finds when all of the certificates that are sent are valid.
func (i *Identity) bound() error {
	for _, der := range i.Certificate.Certificate {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return fmt.Errorf("%s holds a certificate that cannot be read: %w", i.file, err)
		}
		if c.NotBefore.After(i.NotBefore) {
			i.NotBefore = c.NotBefore
		}
		if i.NotAfter.IsZero() || c.NotAfter.Before(i.NotAfter) {
			i.NotAfter = c.NotAfter
		}
	}
	return nil
}

// expired says that the certificate is of no use now.
func (i *Identity) expired(now time.Time) error {
	switch {
	case now.After(i.NotAfter):
		return fmt.Errorf("the certificate in %s, or one sent along with it, expired at %s: renew it", i.file, stamp(i.NotAfter))
	case now.Before(i.NotBefore):
		return fmt.Errorf("the certificate in %s, or one sent along with it, is not valid before %s: look at this machine's clock", i.file, stamp(i.NotBefore))
	}
	return nil
}

// warnings are the ends that are near.
func (i *Identity) warnings(now time.Time) []string {
	soon := i.NotAfter.Add(-min(foresight, i.NotAfter.Sub(i.NotBefore)/4))
	if now.Before(soon) {
		return nil
	}
	if err := i.expired(now); err != nil {
		return []string{err.Error()}
	}
	return []string{fmt.Sprintf("the certificate in %s, or one sent along with it, expires at %s: renew it before", i.file, stamp(i.NotAfter))}
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
