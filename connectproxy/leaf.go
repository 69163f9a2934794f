package connectproxy

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/hashicorp/consul/api"

	"connect-proxy/connectproxy/watch"
)

// leaf is the certificate with which the service proves itself.
type leaf struct {
	cert   tls.Certificate // with intermediates, and its Leaf parsed
	id     serviceID
	serial string
}

func parseLeaf(l *api.LeafCert) (*leaf, error) {
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
	return &leaf{cert: cert, id: id, serial: serialNumber(cert.Leaf)}, nil
}

// same reports that two leafs are one certificate in one chain.
func (l *leaf) same(m *leaf) bool {
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

// expired says so from the last second on in which it is valid.
func (l *leaf) expired(now time.Time) bool {
	return now.After(l.cert.Leaf.NotAfter)
}

// early says that its time has not come, even by a clock that is somewhat
// behind: by that clock no peer's certificate would be valid either.
func (l *leaf) early(now time.Time) bool {
	return now.Add(clockSkew).Before(l.cert.Leaf.NotBefore)
}

// olderThan reports that m was issued later and lasts as long at least.
func (l *leaf) olderThan(m *leaf) bool {
	a, b := l.cert.Leaf, m.cert.Leaf
	return a.NotBefore.Before(b.NotBefore) && !a.NotAfter.After(b.NotAfter)
}

// renewAt is when less than a quarter of the leaf's life is left. The agent
// renews between 60 and 90 % of it, and its watch tells; from then on we ask.
func (l *leaf) renewAt() time.Time {
	c := l.cert.Leaf
	return c.NotAfter.Add(-c.NotAfter.Sub(c.NotBefore) / 4)
}

const (
	// leafPace is how often the leaf is asked for.
	leafPace = 5 * time.Second
	// leafWait is how long the agent may wait for a newer one each time. That it
	// is asked for something newer has it look for that until it is asked again,
	// which in some versions nothing else does.
	leafWait = 20 * time.Millisecond
	// leafFirstWait is the same without a leaf, for agents that make even those
	// questions wait.
	leafFirstWait = watch.DefaultFirstWait
)

// fetchLeaf asks the agent for the leaf certificate of o's service, and for one
// of this moment whatever there was before where overdue is set. The result is
// for one goroutine.
func fetchLeaf(o identityOptions, overdue *atomic.Bool, now func() time.Time) watch.Fetch[*leaf] {
	var have watch.Cursor
	return func(ctx context.Context, _ watch.Cursor, _ time.Duration) (*leaf, watch.Cursor, error) {
		asked, wait := have, leafWait
		if overdue.Swap(false) || have == (watch.Cursor{}) {
			asked, wait = watch.Cursor{}, leafFirstWait
		}
		have = watch.Cursor{}
		answer, meta, err := o.Client.Agent().ConnectCALeaf(o.Service, queryOptions(ctx, o, asked, wait))
		if err != nil {
			return nil, watch.Cursor{}, needs(err, "service:write", o.Service)
		}
		l, err := parseLeaf(answer)
		if err != nil {
			return nil, watch.Cursor{}, fmt.Errorf("reading the leaf certificate: %w", err)
		}
		if err := l.fits(o); err != nil {
			return nil, watch.Cursor{}, err
		}
		if now := now(); l.expired(now) {
			// An error rather than a value: it is neither put in use nor waited
			// upon, but asked for again.
			c := l.cert.Leaf
			return nil, watch.Cursor{}, &clockError{what: leafName, from: c.NotBefore, until: c.NotAfter, now: now}
		}
		have = watch.Cursor{Index: meta.LastIndex}
		return l, watch.Cursor{}, nil
	}
}

// fits refuses a leaf of another service than the one asked for.
func (l *leaf) fits(o identityOptions) error {
	if strings.EqualFold(l.id.service, o.Service) &&
		strings.EqualFold(l.id.namespace, orDefaultName(o.Namespace)) &&
		strings.EqualFold(l.id.partition, orDefaultName(o.Partition)) {
		return nil
	}
	return fmt.Errorf("leaf certificate of %s was given for service %q", l.id, o.Service)
}

func queryOptions(ctx context.Context, o identityOptions, cur watch.Cursor, wait time.Duration) *api.QueryOptions {
	q := &api.QueryOptions{
		WaitIndex: cur.Index,
		WaitTime:  wait,
		Namespace: o.Namespace,
		Partition: o.Partition,
	}
	return q.WithContext(ctx)
}

// needs names the permission that the token lacks where the agent said no more
// than that it lacks one.
func needs(err error, permission, name string) error {
	if isForbidden(err) {
		return fmt.Errorf("the token needs %s on %q: %w", permission, name, err)
	}
	return err
}

func isForbidden(err error) bool {
	var status api.StatusError
	return errors.As(err, &status) && status.Code == http.StatusForbidden
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
