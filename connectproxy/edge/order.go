package edge

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/mholt/acmez/v3"
	"github.com/mholt/acmez/v3/acme"
)

// orderTime bounds an order, from the account to the certificate.
const orderTime = 5 * time.Minute

// challenges are the certificates by which a CA sees that a host leads here
// (RFC 8737), by their hosts. It is acmez's Solver.
type challenges struct {
	mu     sync.Mutex // guards what follows
	host   string     // that is ordered for
	answer *tls.Certificate
}

var _ acmez.Solver = (*challenges)(nil)

// ordering has challenges for a host be answered from now on, and for no other.
func (c *challenges) ordering(host string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.host, c.answer = host, nil
}

// Present is called before the CA is told to look.
func (c *challenges) Present(_ context.Context, challenge acme.Challenge) error {
	answer, err := acmez.TLSALPN01ChallengeCert(challenge)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if challenge.Identifier.Type != "dns" || challenge.Identifier.Value != c.host {
		return fmt.Errorf("the CA wants to see %.200q, and %s was ordered", challenge.Identifier.Value, c.host)
	}
	c.answer = answer
	return nil
}

// CleanUp is called once the CA has looked.
func (c *challenges) CleanUp(context.Context, acme.Challenge) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.answer = nil
	return nil
}

func (c *challenges) get(host string) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if host != c.host || c.answer == nil {
		return nil, errNoChallenge
	}
	return c.answer, nil
}

var errNoChallenge = errors.New("client asks for a CA's challenge, and there is none for this name")

// order gets a certificate for a host from the CA. It returns soon after ctx is done.
func (s *orders) order(ctx context.Context, host string) (*tls.Certificate, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, orderTime, fmt.Errorf("the CA has not given a certificate in %s", orderTime))
	defer cancel()
	key, err := s.cache.account()
	if err != nil {
		return nil, err
	}
	account := acme.Account{TermsOfServiceAgreed: true, PrivateKey: key}
	if s.o.ACME.Email != "" {
		account.Contact = []string{"mailto:" + s.o.ACME.Email}
	}
	if account, err = s.ca.NewAccount(ctx, account); err != nil { // or the one that this key has
		return nil, because(ctx, err)
	}
	own, text, err := newKey()
	if err != nil {
		return nil, err
	}
	s.challenges.ordering(host)
	defer s.challenges.ordering("")
	client := acmez.Client{Client: s.ca.Client, ChallengeSolvers: map[string]acmez.Solver{acme.ChallengeTypeTLSALPN01: &s.challenges}}
	chains, err := client.ObtainCertificateForSANs(ctx, account, own, []string{host})
	if err != nil {
		return nil, because(ctx, err)
	}
	err = errors.New("the CA has given no certificate")
	for _, chain := range chains { // the first is the CA's choice
		var c *tls.Certificate
		if c, err = readCertificate(host, text, chain.ChainPEM, time.Now()); err == nil {
			if err := s.cache.put(host, append(text, chain.ChainPEM...)); err != nil {
				s.o.Logger.Error("a new certificate cannot be kept, and will be ordered again at the next start", "host", host, "error", err)
			}
			return c, nil
		}
		err = fmt.Errorf("the CA has given %w", err)
	}
	return nil, err
}

// because is an error of the CA's, or why it was not waited for longer.
func because(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}
