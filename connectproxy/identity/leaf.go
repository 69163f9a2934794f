package identity

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/hashicorp/consul/api"

	"connect-proxy/connectproxy/mtls"
	"connect-proxy/upstream/watch"
)

// leafCert is the certificate with which the service proves itself.
type leafCert struct {
	cert   tls.Certificate // with intermediates, and its Leaf parsed
	id     serviceID
	serial string
}

func parseLeaf(l *api.LeafCert) (*leafCert, error) {
	cert, err := tls.X509KeyPair([]byte(l.CertPEM), []byte(l.PrivateKeyPEM))
	if err != nil {
		return nil, err
	}
	if cert.Leaf == nil {
		if cert.Leaf, err = x509.ParseCertificate(cert.Certificate[0]); err != nil {
			return nil, err
		}
	}
	id, err := certificateID(cert.Leaf)
	if err != nil {
		return nil, err
	}
	return &leafCert{cert: cert, id: id, serial: serialNumber(cert.Leaf)}, nil
}

// same reports whether two leafs are one certificate in one chain.
func (l *leafCert) same(m *leafCert) bool {
	if len(l.cert.Certificate) != len(m.cert.Certificate) {
		return false
	}
	for i, c := range l.cert.Certificate {
		if string(c) != string(m.cert.Certificate[i]) {
			return false
		}
	}
	return true
}

// expired reports whether its end has passed; the last second still counts.
func (l *leafCert) expired(now time.Time) bool {
	return now.After(l.cert.Leaf.NotAfter)
}

// notYetValid reports whether its time has not come, even by a clock that is
// somewhat behind: by that clock no peer's certificate would be valid either.
func (l *leafCert) notYetValid(now time.Time) bool {
	return now.Add(mtls.ClockSkew).Before(l.cert.Leaf.NotBefore)
}

// olderThan reports whether m was issued later and lasts as long at least.
func (l *leafCert) olderThan(m *leafCert) bool {
	a, b := l.cert.Leaf, m.cert.Leaf
	return a.NotBefore.Before(b.NotBefore) && !a.NotAfter.After(b.NotAfter)
}

// renewAt returns when less than a quarter of the leaf's life is left. The agent
// renews it before, between 60 and 90 % of its life, and the watch brings it;
// from then on it is asked for.
func (l *leafCert) renewAt() time.Time {
	c := l.cert.Leaf
	return c.NotAfter.Add(-c.NotAfter.Sub(c.NotBefore) / 4)
}

const (
	// leafInterval is how often the leaf is asked for without one that can be used,
	// and while a newer one is to be expected: for rotationTime after a change of
	// the roots, since agents spread their demand over half a minute, unless it
	// comes before. Else one that lives for a few minutes is asked for leafAsks times in
	// its life, and any other every leafRest.
	leafInterval = 4 * time.Second
	leafRest     = 30 * time.Second
	leafAsks     = 12
	rotationTime = 2 * time.Minute
	// leafWait is how long the agent may wait for a newer one each time. A
	// question for something newer has the agent look for that until the next
	// question; in some versions nothing else makes it look.
	leafWait = 20 * time.Millisecond
	// leafFirstWait is the same without a leaf, for agents that make even those
	// questions wait.
	leafFirstWait = watch.DefaultFirstWait
)

// leafPace is how often the leaf is asked for. It is renewed by the clock, the
// agent's and the one here, and else only in a rotation of the authority, which the
// roots show.
func (i *Identity) leafPace() time.Duration {
	g, err := i.usable()
	if err != nil {
		return leafInterval
	}
	if expected := i.leafExpected.Load(); expected != nil && time.Since(*expected) < rotationTime {
		return leafInterval
	}
	c := g.leaf.cert.Leaf
	return min(max(c.NotAfter.Sub(c.NotBefore)/leafAsks, leafInterval), leafRest)
}

// expectLeaf takes note of a change: after one of the roots, a newer leaf will
// come. The agent is asked at once, so that it looks for one.
func (i *Identity) expectLeaf(newLeaf, newRoots bool) {
	switch {
	case newRoots && !newLeaf:
		now := time.Now()
		i.leafExpected.Store(&now)
		i.leaf.Refresh()
	case newLeaf:
		i.leafExpected.Store(nil)
	}
}

// preferredLeaf returns the leaf to use from now on. A valid one is not given up
// for one that has expired or is not valid yet, that is older, as from a cache
// that came back, or that no root here vouches for: the root is on its way, and
// peers get it as this proxy does.
func preferredLeaf(have, got *leafCert, r *rootSet, now time.Time) *leafCert {
	switch {
	case have == got:
		return have
	case have.expired(now), have.notYetValid(now) && !got.notYetValid(now) && !got.expired(now):
		return got
	case got.expired(now), got.notYetValid(now) && !have.notYetValid(now), got.olderThan(have):
		return have
	case !r.trusts(got, now) && r.trusts(have, now):
		return have
	}
	return got
}

// fetchLeaf asks the agent for the leaf certificate of o's service. Where overdue
// is set it asks for the one of this moment, whatever there was before. The
// result is for one goroutine.
func fetchLeaf(o Options, overdue *atomic.Bool, now func() time.Time) watch.Fetch[*leafCert] {
	var have watch.Cursor
	return func(ctx context.Context, _ watch.Cursor, _ time.Duration) (*leafCert, watch.Cursor, error) {
		asked, wait := have, leafWait
		if overdue.Swap(false) || have == (watch.Cursor{}) {
			asked, wait = watch.Cursor{}, leafFirstWait
		}
		have = watch.Cursor{}
		answer, meta, err := o.Client.Agent().ConnectCALeaf(o.Service, queryOptions(ctx, o, asked, wait))
		if err != nil {
			return nil, watch.Cursor{}, watch.Needs(err, "service:write", o.Service)
		}
		l, err := parseLeaf(answer)
		if err != nil {
			return nil, watch.Cursor{}, unusable{fmt.Errorf("reading the leaf certificate: %w", err)}
		}
		if err := l.checkOwner(o); err != nil {
			return nil, watch.Cursor{}, unusable{err}
		}
		if now := now(); l.expired(now) {
			// An error rather than a value: it is neither put in use nor waited
			// upon, but asked for again.
			c := l.cert.Leaf
			return nil, watch.Cursor{}, unusable{&clockError{what: leafName, from: c.NotBefore, until: c.NotAfter, now: now}}
		}
		have = watch.Cursor{Index: meta.LastIndex}
		return l, watch.Cursor{}, nil
	}
}

// checkOwner refuses a leaf of another service than the one asked for.
func (l *leafCert) checkOwner(o Options) error {
	if strings.EqualFold(l.id.service, o.Service) &&
		strings.EqualFold(l.id.namespace, cmp.Or(o.Namespace, defaultName)) &&
		strings.EqualFold(l.id.partition, cmp.Or(o.Partition, defaultName)) {
		return nil
	}
	return fmt.Errorf("leaf certificate of %s was given for service %q", l.id, o.Service)
}

func queryOptions(ctx context.Context, o Options, cur watch.Cursor, wait time.Duration) *api.QueryOptions {
	q := &api.QueryOptions{
		WaitIndex: cur.Index,
		WaitTime:  wait,
		Namespace: o.Namespace,
		Partition: o.Partition,
	}
	return q.WithContext(ctx)
}

func timestamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
