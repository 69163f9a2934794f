//go:build linux

package peer

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/url"
	"os"
	"path/filepath"
	"time"
)

// certificates are files in PEM: a certificate authority and what it issued to
// either side, all ECDSA on P-256 as Consul's are. A side's file holds its key
// too.
type certificates struct{ Authority, Server, Client string }

// Names that the two sides prove.
const (
	serverName = "server.bench.internal"
	clientName = "client.bench.internal"
)

func issue(dir string) (certificates, error) {
	c := certificates{
		Authority: filepath.Join(dir, "ca.pem"),
		Server:    filepath.Join(dir, "server.pem"),
		Client:    filepath.Join(dir, "client.pem"),
	}
	root := unsigned(1, "bench CA")
	root.IsCA, root.BasicConstraintsValid, root.KeyUsage = true, true, x509.KeyUsageCertSign
	key, err := sign(c.Authority, root, root, nil)
	if err != nil {
		return c, err
	}
	for i, file := range []string{c.Server, c.Client} {
		name := []string{serverName, clientName}[i]
		leaf := unsigned(int64(2+i), name)
		leaf.DNSNames = []string{name}
		leaf.URIs = []*url.URL{{Scheme: "spiffe", Host: "bench.internal", Path: "/ns/default/dc/dc1/svc/" + name}}
		leaf.KeyUsage = x509.KeyUsageDigitalSignature
		leaf.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
		if _, err := sign(file, leaf, root, key); err != nil {
			return c, err
		}
	}
	return c, nil
}

func unsigned(serial int64, name string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(serial),
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(72 * time.Hour),
	}
}

// sign makes a key and a certificate for it and writes both; without a parent's
// key the certificate signs itself.
func sign(file string, cert, parent *x509.Certificate, parentKey *ecdsa.PrivateKey) (*ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making a key: %w", err)
	}
	if parentKey == nil {
		parentKey = key
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, parent, &key.PublicKey, parentKey)
	if err != nil {
		return nil, fmt.Errorf("signing a certificate: %w", err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encoding a key: %w", err)
	}
	var text bytes.Buffer
	_ = pem.Encode(&text, &pem.Block{Type: "CERTIFICATE", Bytes: der})
	_ = pem.Encode(&text, &pem.Block{Type: "PRIVATE KEY", Bytes: secret})
	if err := os.WriteFile(file, text.Bytes(), 0o600); err != nil {
		return nil, fmt.Errorf("writing a certificate: %w", err)
	}
	return key, nil
}
