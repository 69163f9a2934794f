package devagent

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// What Consul allows for a leaf's life, and gives it.
const (
	defaultLeafTTL = 72 * time.Hour
	leastLeafTTL   = time.Hour
	mostLeafTTL    = 365 * 24 * time.Hour
)

// leaves are the certificates that the agent keeps, one for each service.
type leaves struct {
	ttl  time.Duration
	held map[string]*leaf
}

type leaf struct {
	cert  *x509.Certificate
	chain string
	key   string
	under *root
	index uint64
	// renewal is when the agent makes another by itself.
	renewal time.Time
}

// URI returns the SPIFFE URI of the service of that name in this agent's datacenter,
// registered or not.
func (a *Agent) URI(service string) *url.URL {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.uri(service)
}

func (a *Agent) uri(service string) *url.URL {
	return &url.URL{
		Scheme: "spiffe",
		Host:   a.authority.active().trustDomain,
		Path:   "/ns/default/dc/" + a.o.Datacenter + "/svc/" + service,
	}
}

// currentLeaf is the leaf that the agent has of a service, renewed at two
// thirds of its life and when the root has changed.
func (a *Agent) currentLeaf(service string) (*leaf, error) {
	now := time.Now()
	have := a.leaves.held[service]
	if have != nil && have.under == a.authority.active() && now.Before(have.renewal) {
		return have, nil
	}
	l, err := a.issue(service, now)
	if err != nil {
		return nil, err
	}
	if have == nil && len(a.leaves.held) >= maxLeaves {
		for name := range a.leaves.held { // any: it is issued anew when asked for
			delete(a.leaves.held, name)
			break
		}
	}
	a.leaves.held[service] = l
	return l, nil
}

func (a *Agent) issue(service string, now time.Time) (*leaf, error) {
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
		URIs:                  []*url.URL{a.uri(service)},
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(a.leaves.ttl),
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	l := &leaf{under: under, index: a.next(), renewal: now.Add(a.leaves.ttl * 2 / 3)}
	if l.cert, l.chain, err = sign(template, under.cert, &key.PublicKey, under.key); err != nil {
		return nil, err
	}
	l.chain += strings.Join(under.crossSigned, "")
	l.key = string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}))
	return l, nil
}

type leafView struct {
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

func (a *Agent) getLeaf(r *http.Request) answer {
	service := r.PathValue("service")
	if len(service) > maxName {
		return a.badRequest("the service's name is too long")
	}
	l, err := a.currentLeaf(service)
	if err != nil {
		return answer{status: http.StatusInternalServerError, text: err.Error()}
	}
	return answer{
		body: leafView{
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
		headers: headers{cached: true},
	}
}
