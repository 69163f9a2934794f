package fakeagent

import (
	"crypto/x509"
	"net/http"
	"strings"
	"time"
)

// Rotation says how a new root replaces the active one.
type Rotation struct {
	// TrustDomain is the new root's, with the ".consul"; empty keeps the
	// present one, "new" makes one up.
	TrustDomain string
	// CrossSign signs the new root by the old one too, and adds that to the
	// leaf certificates to come.
	CrossSign bool
	// DropOld forgets all earlier roots at once.
	DropOld bool
}

// Rotate makes a new active root. Leaf certificates are issued anew under it.
func (a *Agent) Rotate(r Rotation) {
	a.t.Helper()
	var err error
	a.change(func() {
		switch r.TrustDomain {
		case "":
			r.TrustDomain = a.authority.active().trustDomain
		case "new":
			r.TrustDomain = newTrustDomain()
		}
		err = a.authority.add(rootOptions{
			trustDomain: r.TrustDomain,
			crossSign:   r.CrossSign,
			dropOld:     r.DropOld,
			index:       a.index,
		})
	})
	if err != nil {
		a.t.Fatalf("rotating the fake agent's root: %v", err)
	}
}

// TrustDomain is the active root's.
func (a *Agent) TrustDomain() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.authority.active().trustDomain
}

// Pool is the certificates of all roots.
func (a *Agent) Pool() *x509.CertPool {
	a.mu.Lock()
	defer a.mu.Unlock()
	pool := x509.NewCertPool()
	for _, r := range a.authority.roots {
		pool.AddCert(r.cert)
	}
	return pool
}

type rootsBody struct {
	ActiveRootID string
	TrustDomain  string
	Roots        []rootBody
}

type rootBody struct {
	ID                  string
	Name                string
	SerialNumber        int64
	SigningKeyID        string
	ExternalTrustDomain string
	NotBefore           time.Time
	NotAfter            time.Time
	RootCert            string
	IntermediateCerts   []string
	Active              bool
	PrivateKeyType      string `json:",omitempty"`
	PrivateKeyBits      int    `json:",omitempty"`
	CreateIndex         uint64
	ModifyIndex         uint64
}

func (a *Agent) rootsAnswer(*http.Request, question) answer {
	active := a.authority.active()
	body := rootsBody{ActiveRootID: active.id(), TrustDomain: active.trustDomain}
	for _, r := range a.authority.roots {
		b := rootBody{
			ID:                  r.id(),
			Name:                "Consul CA Primary Cert",
			SerialNumber:        r.cert.SerialNumber.Int64(),
			SigningKeyID:        colonHex(r.cert.SubjectKeyId),
			ExternalTrustDomain: strings.TrimSuffix(r.trustDomain, ".consul"),
			NotBefore:           r.cert.NotBefore,
			NotAfter:            r.cert.NotAfter,
			RootCert:            r.pem,
			IntermediateCerts:   r.crossSigned,
			Active:              r == active,
			CreateIndex:         r.index,
			ModifyIndex:         r.index,
		}
		if a.managed {
			b.Name = "Consul CA Root Cert"
		} else {
			b.PrivateKeyType, b.PrivateKeyBits = "ec", 256
		}
		body.Roots = append(body.Roots, b)
	}
	return answer{body: body, index: a.authority.index, headers: headers{meta: true, cached: true}}
}
