package edge

import (
	"crypto/tls"
	"errors"
	"fmt"
	"time"
)

// maxChain bounds what each client is sent, in bytes. Chains have some 4 kB.
const maxChain = 32 << 10

// readCertificate reads a key and a chain in PEM form, and checks that they are a
// certificate for the host that is valid now.
func readCertificate(host string, key, chain []byte, now time.Time) (*tls.Certificate, error) {
	c, err := tls.X509KeyPair(chain, key)
	if err != nil {
		return nil, err // which tells no key
	}
	size := 0
	for _, der := range c.Certificate {
		size += len(der)
	}
	switch leaf := c.Leaf; {
	case leaf == nil:
		return nil, errors.New("a certificate that cannot be read")
	case size > maxChain:
		return nil, fmt.Errorf("a chain of %d bytes: more than %d are not shown to clients", size, maxChain)
	case now.Before(leaf.NotBefore):
		return nil, fmt.Errorf("a certificate that is valid from %s on: is this clock right?", day(leaf.NotBefore))
	case !now.Before(leaf.NotAfter):
		return nil, fmt.Errorf("a certificate that was valid until %s", day(leaf.NotAfter))
	}
	if err := c.Leaf.VerifyHostname(host); err != nil {
		return nil, fmt.Errorf("a certificate for another name: %w", err)
	}
	return &c, nil
}

func day(t time.Time) string { return t.UTC().Format(time.RFC3339) }
