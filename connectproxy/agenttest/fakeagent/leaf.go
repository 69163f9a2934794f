package fakeagent

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	// defaultLeafTTL is Consul's.
	defaultLeafTTL = 72 * time.Hour
	// backdate is how long before its making a leaf begins.
	backdate = time.Minute
)

// leaves are the certificates that the agent keeps, one for each service.
type leaves struct {
	ttl time.Duration
	// stuckFirst holds a query without an index for as long as its wait,
	// stuckWatch one with an index.
	stuckFirst, stuckWatch bool
	cached                 map[string]*leaf
}

type leaf struct {
	cert  *x509.Certificate
	chain string
	key   string
	under *root
	index uint64
	// renewal is when the agent makes another by itself; zero is never.
	renewal time.Time
}

// SetLeafTTL sets how long leaf certificates issued from now on live.
func (a *Agent) SetLeafTTL(ttl time.Duration) {
	a.change(func() {
		a.leaves.ttl = ttl
		clear(a.leaves.cached)
	})
}

// StickLeafs turns two faults on or off. first blocks a leaf query without an
// index until its wait is over, as some agents do; watch does so to one with an
// index, whatever becomes of the leaf meanwhile, and then gives the leaf that
// the agent has.
func (a *Agent) StickLeafs(first, watch bool) {
	a.change(func() { a.leaves.stuckFirst, a.leaves.stuckWatch = first, watch })
}

// RenewLeaf issues a new leaf for the service, which may have been pinned.
func (a *Agent) RenewLeaf(service string) {
	a.change(func() { delete(a.leaves.cached, service) })
}

// PinLeaf has the agent give out a leaf with that validity, even one that has
// expired, until RenewLeaf or Rotate.
func (a *Agent) PinLeaf(service string, notBefore, notAfter time.Time) {
	a.t.Helper()
	var err error
	a.change(func() {
		var l *leaf
		if l, err = a.issue(a.uri(service), notBefore, notAfter); err == nil {
			a.leaves.cached[service] = l
		}
	})
	if err != nil {
		a.t.Fatalf("pinning a leaf: %v", err)
	}
}

// Certificate issues a certificate to a peer under the active root, for a
// service of this datacenter, or for whatever else if name is a whole URI.
func (a *Agent) Certificate(name string) tls.Certificate {
	a.t.Helper()
	now := time.Now()
	a.mu.Lock()
	uri := a.uri(name)
	if u, err := url.Parse(name); err == nil && u.Scheme != "" {
		uri = u
	}
	l, err := a.issue(uri, now.Add(-backdate), now.Add(defaultLeafTTL))
	a.mu.Unlock()
	if err != nil {
		a.t.Fatalf("issuing a certificate: %v", err)
	}
	cert, err := tls.X509KeyPair([]byte(l.chain), []byte(l.key))
	if err != nil {
		a.t.Fatalf("reading a certificate: %v", err)
	}
	return cert
}

// URI is the SPIFFE URI of a service of this datacenter under the active root.
func (a *Agent) URI(service string) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.uri(service).String()
}

func (a *Agent) uri(service string) *url.URL {
	return &url.URL{
		Scheme: "spiffe",
		Host:   a.authority.active().trustDomain,
		Path:   "/ns/default/dc/" + a.dc + "/svc/" + service,
	}
}

// issue is called with the lock held.
func (a *Agent) issue(uri *url.URL, notBefore, notAfter time.Time) (*leaf, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, err
	}
	under := a.authority.active()
	a.authority.serial++
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(a.authority.serial),
		URIs:                  []*url.URL{uri},
		NotBefore:             notBefore,
		NotAfter:              notAfter,
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	l := &leaf{under: under, index: a.index}
	if l.cert, l.chain, err = sign(template, under.cert, &key.PublicKey, under.key); err != nil {
		return nil, err
	}
	l.chain += strings.Join(under.crossSigned, "")
	l.key = string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}))
	return l, nil
}

// current is the leaf that the agent has of a service, renewed at two thirds of
// its life and when the root changed. It is called with the lock held.
func (a *Agent) current(service string) (*leaf, error) {
	now := time.Now()
	have := a.leaves.cached[service]
	if have != nil && have.under == a.authority.active() && (have.renewal.IsZero() || now.Before(have.renewal)) {
		return have, nil
	}
	a.index++
	l, err := a.issue(a.uri(service), now.Add(-backdate), now.Add(a.leaves.ttl))
	if err != nil {
		return nil, err
	}
	l.renewal = now.Add(a.leaves.ttl * 2 / 3)
	a.leaves.cached[service] = l
	return l, nil
}

type leafBody struct {
	SerialNumber  string
	CertPEM       string
	PrivateKeyPEM string
	Service       string
	ServiceURI    string
	ValidAfter    time.Time
	ValidBefore   time.Time
	CreateIndex   uint64
	ModifyIndex   uint64
}

func (a *Agent) leafAnswer(r *http.Request, q question) answer {
	service := r.PathValue("service")
	l, err := a.current(service)
	if err != nil {
		return answer{status: http.StatusInternalServerError, text: err.Error()}
	}
	hold := a.leaves.stuckFirst
	if q.index > 0 {
		hold = a.leaves.stuckWatch
	}
	return answer{
		body: leafBody{
			SerialNumber:  colonHex(l.cert.SerialNumber.Bytes()),
			CertPEM:       l.chain,
			PrivateKeyPEM: l.key,
			Service:       service,
			ServiceURI:    l.cert.URIs[0].String(),
			ValidAfter:    l.cert.NotBefore,
			ValidBefore:   l.cert.NotAfter,
			CreateIndex:   l.index,
			ModifyIndex:   l.index,
		},
		index:   l.index,
		until:   l.renewal,
		hold:    hold,
		headers: headers{cached: true},
	}
}
