package fakeagent

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"

	"connect-proxy/listener/listenertest"
)

// leafLife is Consul's.
const leafLife = 72 * time.Hour

// CA is the authority behind the active root, which may issue what the agent
// would not.
func (a *Agent) CA() *listenertest.CA {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.ca
}

// URI is the SPIFFE URI of a service of this datacenter under the active root.
func (a *Agent) URI(service string) string {
	return a.CA().URI(service, listenertest.LeafOptions{})
}

// TrustDomain is the active root's.
func (a *Agent) TrustDomain() string { return a.CA().TrustDomain }

// Pool is the certificates of all roots.
func (a *Agent) Pool() *x509.CertPool {
	a.t.Helper()
	pool := x509.NewCertPool()
	for _, r := range a.Roots().Roots {
		pool.AppendCertsFromPEM([]byte(r.RootCertPEM))
	}
	return pool
}

// Roots are what the agent answers about its roots.
func (a *Agent) Roots() api.CARootList {
	a.t.Helper()
	a.mu.Lock()
	said, ok := a.answers[rootsPath]
	a.mu.Unlock()
	if ok {
		return said.(api.CARootList)
	}
	return a.devRoots()
}

// Rotate makes a new root, which the old one signs too, and has every leaf
// issued anew.
func (a *Agent) Rotate() {
	a.t.Helper()
	key := listenertest.NewKey(a.t)
	a.do(http.MethodPut, "/v1/connect/ca/configuration", map[string]any{
		"Provider": "consul", "Config": map[string]string{"PrivateKey": (&listenertest.Certificate{Key: key}).KeyPEM(a.t)},
	}, nil)
	a.mu.Lock()
	for path := range a.answers {
		if strings.HasPrefix(path, leafPath) {
			delete(a.answers, path)
		}
	}
	a.mu.Unlock()
	a.adopt(key)
}

// Trust adds a root that is not the agent's own to those that it shows, as the
// active one: what it issues from then on, by Certificate, SetLeaf and RenewLeaf,
// is that authority's.
func (a *Agent) Trust(ca *listenertest.CA) {
	a.t.Helper()
	roots := a.Roots()
	all := []*api.CARoot{{ID: listenertest.Serial(ca.Cert), RootCertPEM: ca.CertPEM, Active: true}}
	for _, r := range roots.Roots {
		old := *r
		old.Active = false
		all = append(all, &old)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.answers[rootsPath] = api.CARootList{ActiveRootID: all[0].ID, TrustDomain: ca.TrustDomain, Roots: all}
	a.ca = ca
}

// Certificate issues a certificate to a peer under the active root, for a
// service of this datacenter, or for whatever else if name is a whole URI.
func (a *Agent) Certificate(name string) tls.Certificate {
	a.t.Helper()
	o := listenertest.LeafOptions{}
	if strings.Contains(name, "://") {
		o.URI = name
	}
	return a.CA().LeafWith(a.t, name, o).Certificate
}

// LeafOf is a certificate as an agent gives it.
func LeafOf(l listenertest.Leaf) api.LeafCert {
	return api.LeafCert{
		SerialNumber: l.Serial, CertPEM: l.CertPEM, PrivateKeyPEM: l.KeyPEM, ServiceURI: l.URI,
		ValidAfter: l.Certificate.Leaf.NotBefore, ValidBefore: l.Certificate.Leaf.NotAfter,
	}
}

// SetLeaf has the agent give out that leaf for a service, whatever it is, until
// another is set or the root is rotated.
func (a *Agent) SetLeaf(service string, l api.LeafCert) { a.Answer(leafPath+service, l) }

// PinLeaf has the agent give out a leaf with that validity, even one that has
// expired.
func (a *Agent) PinLeaf(service string, notBefore, notAfter time.Time) api.LeafCert {
	a.t.Helper()
	l := LeafOf(a.CA().LeafWith(a.t, service, listenertest.LeafOptions{NotBefore: notBefore, NotAfter: notAfter}))
	a.SetLeaf(service, l)
	return l
}

// RenewLeaf has the agent give out a new leaf as good agents do.
func (a *Agent) RenewLeaf(service string) api.LeafCert {
	a.t.Helper()
	now := time.Now()
	return a.PinLeaf(service, now.Add(-time.Minute), now.Add(leafLife))
}

// FreezeLeaf has every question for a newer leaf than the one at hand answered
// with the one of this moment, whatever becomes of it: agents of some versions
// look for a newer one only when they are asked without an index.
func (a *Agent) FreezeLeaf(service string) {
	a.t.Helper()
	path := leafPath + service
	a.mu.Lock()
	now, said := a.answers[path]
	a.mu.Unlock()
	if !said {
		var l api.LeafCert
		a.do(http.MethodGet, path, nil, &l)
		now = l
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.frozen[path] = now
}

// StickLeafs has a leaf query without an index wait for as long as it may, as
// some agents do.
func (a *Agent) StickLeafs() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.stuck = true
}
