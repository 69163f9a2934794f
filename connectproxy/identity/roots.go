package identity

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"

	"connect-proxy/upstream/watch"
)

// rootsAnswer is the agent's answer to /v1/agent/connect/ca/roots, with the
// trust domain of each root, which consul/api does not read.
type rootsAnswer struct {
	ActiveRootID string
	TrustDomain  string
	Roots        []rootAnswer
}

// rootAnswer is comparable.
type rootAnswer struct {
	ID       string
	RootCert string
	Active   bool
	// ExternalTrustDomain is the ID of the cluster under which the root was
	// made. Real agents always give it, also for a root of the operator's own
	// that names another trust domain in its certificate: what that root signs
	// for the other domain does not belong to this mesh. Only where it is missing
	// does the certificate name the domain.
	ExternalTrustDomain string
}

// rootSet is the certificates that peers are verified against: all that the
// agent lists, since one that is no longer active vouches for the leafs that it
// has signed until the last of them is replaced.
type rootSet struct {
	answer      rootsAnswer
	trustDomain string // lower case, of the active root
	verifier    *verifier
	ends        []time.Time // when the roots end, in the order of ids
}

func (r *rootSet) same(s *rootSet) bool { return r.answer.same(s.answer) }

func (a rootsAnswer) same(b rootsAnswer) bool {
	return a.ActiveRootID == b.ActiveRootID && a.TrustDomain == b.TrustDomain && slices.Equal(a.Roots, b.Roots)
}

func (r *rootSet) ids() []string {
	ids := make([]string, len(r.answer.Roots))
	for i, root := range r.answer.Roots {
		ids[i] = root.ID
	}
	return ids
}

// trusts reports whether peers with these roots would take l.
func (r *rootSet) trusts(l *leafCert, now time.Time) bool {
	certs, err := parseChain(l)
	if err != nil {
		return false
	}
	if now.Before(certs[0].NotBefore) {
		now = certs[0].NotBefore
	}
	_, err = r.verifier.examine(certs, serverAuth, now)
	return err == nil
}

func parseChain(l *leafCert) ([]*x509.Certificate, error) {
	certs := []*x509.Certificate{l.cert.Leaf}
	for _, der := range l.cert.Certificate[1:] {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, err
		}
		certs = append(certs, c)
	}
	return certs, nil
}

var (
	errNoRoots       = errors.New("agent lists no root")
	errNoTrustDomain = errors.New("agent names no trust domain")
	errOldRoots      = errors.New("agent keeps roots without a trust domain, from before its servers had one (Consul 1.2 to 1.5); " +
		"it asks again within 11 minutes, or at once when it is restarted")
)

func parseRoots(a rootsAnswer, now func() time.Time) (*rootSet, error) {
	switch {
	case a.TrustDomain == "" && len(a.Roots) > 0:
		return nil, errOldRoots
	case a.TrustDomain == "":
		return nil, errNoTrustDomain
	}
	if len(a.Roots) == 0 {
		return nil, errNoRoots
	}
	pool := x509.NewCertPool()
	domains := []string{strings.ToLower(a.TrustDomain)}
	var newest time.Time
	ends := make([]time.Time, len(a.Roots))
	for i, root := range a.Roots {
		certs, err := parsePEM(root.RootCert)
		if err != nil {
			return nil, fmt.Errorf("reading root %s: %w", root.ID, err)
		}
		ends[i] = certs[0].NotAfter
		for _, c := range certs {
			pool.AddCert(c)
			if root.ExternalTrustDomain == "" {
				domains = append(domains, signingDomains(c)...)
			}
			if c.NotBefore.After(newest) {
				newest = c.NotBefore
			}
		}
		if d := root.ExternalTrustDomain; d != "" {
			domains = append(domains, clusterDomain(d))
		}
	}
	trustDomain := domains[0]
	slices.Sort(domains)
	return &rootSet{
		answer:      a,
		trustDomain: trustDomain,
		verifier:    newVerifier(pool, slices.Compact(domains), newest, now),
		ends:        ends,
	}, nil
}

func parsePEM(text string) ([]*x509.Certificate, error) {
	var certs []*x509.Certificate
	for rest := []byte(text); ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		certs = append(certs, c)
	}
	if len(certs) == 0 {
		return nil, errNoCertificate
	}
	return certs, nil
}

var errNoCertificate = errors.New("no certificate in it")

// fetchRoots asks the agent for the roots. It needs no permission.
func fetchRoots(o Options, now func() time.Time) watch.Fetch[*rootSet] {
	var last *rootSet // one question is asked at a time
	return func(ctx context.Context, _ watch.Cursor, _ time.Duration) (*rootSet, watch.Cursor, error) {
		answer, meta, err := queryRoots(ctx, o, watch.Cursor{}, 0)
		if err == nil && answer.TrustDomain == "" {
			// The agent asked its servers before they had an authority, and caches
			// that answer for up to a minute, for leafs too. A question for something
			// newer makes it ask them now.
			newer := watch.Cursor{Index: max(meta.LastIndex, 1)}
			answer, _, err = queryRoots(ctx, o, newer, newRootsWait)
		}
		if err != nil {
			return nil, watch.Cursor{}, err
		}
		if last != nil && last.answer.same(answer) {
			return last, watch.Cursor{}, nil
		}
		if last, err = parseRoots(answer, now); err != nil {
			return nil, watch.Cursor{}, unusable{err}
		}
		return last, watch.Cursor{}, nil
	}
}

// rootsInterval is how often the roots are asked for, which the agent answers from
// memory.
const rootsInterval = 6 * time.Second

// newRootsWait is how long an agent is given to learn of a first authority.
const newRootsWait = 2 * time.Second

func queryRoots(ctx context.Context, o Options, cur watch.Cursor, wait time.Duration) (rootsAnswer, *api.QueryMeta, error) {
	var answer rootsAnswer
	meta, err := o.Client.Raw().Query("/v1/agent/connect/ca/roots", &answer, queryOptions(ctx, o, cur, wait))
	return answer, meta, err
}
