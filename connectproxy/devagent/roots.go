package devagent

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net/http"
	"strings"
	"time"
)

type rootsView struct {
	ActiveRootID string
	TrustDomain  string
	Roots        []rootView
}

type rootView struct {
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

// getRoots answers for the agent, which keeps the roots.
func (a *Agent) getRoots(r *http.Request) answer {
	answer := a.getServerRoots(r)
	answer.headers = headers{meta: true, cached: true}
	return answer
}

// getServerRoots answers for the servers.
func (a *Agent) getServerRoots(*http.Request) answer {
	active := a.authority.active()
	view := rootsView{ActiveRootID: active.id(), TrustDomain: active.trustDomain}
	for _, r := range a.authority.roots {
		v := rootView{
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
		if a.o.Managed {
			v.Name = "Consul CA Root Cert"
		} else {
			v.PrivateKeyType, v.PrivateKeyBits = keyKind(r.key)
		}
		view.Roots = append(view.Roots, v)
	}
	return answer{body: view, index: a.authority.index, headers: headers{meta: true}}
}

func keyKind(key crypto.Signer) (kind string, bits int) {
	switch public := key.Public().(type) {
	case *ecdsa.PublicKey:
		return "ec", public.Params().BitSize
	case *rsa.PublicKey:
		return "rsa", public.N.BitLen()
	}
	return "", 0
}

// Rotate makes a new root, which the old one signs too, and has every leaf
// issued anew, as PUT /v1/connect/ca/configuration does with another key. The trust
// domain stays, as it does in Consul.
func (a *Agent) Rotate() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.rotate(nil)
}

// rotateTo rotates unless the key is the active root's already.
func (a *Agent) rotateTo(key crypto.Signer) error {
	public, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool })
	if ok && public.Equal(a.authority.active().key.Public()) {
		return nil
	}
	return a.rotate(key)
}

func (a *Agent) rotate(key crypto.Signer) error {
	return a.authority.add(newRoot{
		trustDomain: a.authority.active().trustDomain,
		key:         key,
		index:       a.next(),
	})
}

// getCA shows the settings of Consul's own CA, of which this one has but
// LeafCertTTL and PrivateKey.
func (a *Agent) getCA(*http.Request) answer {
	config := map[string]any{"LeafCertTTL": strings.TrimSuffix(a.leaves.ttl.String(), "0m0s")}
	view := map[string]any{
		"Provider": "consul", "Config": config, "State": nil,
		"CreateIndex": firstIndex, "ModifyIndex": a.authority.index,
	}
	if a.o.Managed {
		config["RotationPeriod"] = "2160h"
	} else {
		config["IntermediateCertTTL"], config["RootCertTTL"] = "8760h", "87600h"
		view["ForceWithoutCrossSigning"] = false
	}
	return answer{body: view}
}

// putCA rotates the root if it is given another key, and sets how long leaf
// certificates live.
func (a *Agent) putCA(r *http.Request) answer {
	var in struct {
		Provider string
		Config   struct{ LeafCertTTL, PrivateKey string }
	}
	if problem, ok := a.decode(r, &in); !ok {
		return problem
	}
	if in.Provider != "" && in.Provider != "consul" {
		return a.badRequest("this agent has the CA provider \"consul\" alone")
	}
	ttl := a.leaves.ttl
	if in.Config.LeafCertTTL != "" {
		d, err := time.ParseDuration(in.Config.LeafCertTTL)
		if err != nil || d < leastLeafTTL || d > mostLeafTTL {
			return a.badRequest("LeafCertTTL is not a duration of 1h to 8760h: " + in.Config.LeafCertTTL)
		}
		ttl = d
	}
	if in.Config.PrivateKey != "" {
		key, err := parseKey(in.Config.PrivateKey)
		if err != nil {
			return a.badRequest("reading PrivateKey: " + err.Error())
		}
		if err := a.rotateTo(key); err != nil {
			return answer{status: http.StatusInternalServerError, text: err.Error()}
		}
	}
	if ttl != a.leaves.ttl {
		a.leaves.ttl = ttl
		a.next()
	}
	return answer{}
}

func parseKey(text string) (crypto.Signer, error) {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return nil, errors.New("it is not PEM")
	}
	if key, err := x509.ParseECPrivateKey(block.Bytes); err == nil {
		return key, nil
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, errors.New("it is no EC key, and no key in PKCS#8 form")
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, errors.New("it is no key that signs")
	}
	return signer, nil
}
