package certfiles

import (
	"bytes"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"

	"software.sslmate.com/src/go-pkcs12"
)

// maxCertificates is of one file.
const maxCertificates = 1000

// parsePair reads a certificate, what is sent along with it, and its key. A file
// that could not be read, nil, is not spoken of.
func parsePair(certFile string, cert []byte, keyFile string, key []byte) (tls.Certificate, error) {
	var wrong faults
	var chain []*x509.Certificate
	var signer crypto.Signer
	var err error
	if cert != nil {
		chain, err = parseCertificates(certFile, cert)
		wrong = wrong.and(err)
	}
	if key != nil {
		signer, err = parseKey(keyFile, key)
		wrong = wrong.and(err)
	}
	if chain == nil || signer == nil {
		return tls.Certificate{}, wrong.err()
	}
	return pair(chain, signer, certFile, keyFile)
}

// pair puts a certificate and its key together.
func pair(chain []*x509.Certificate, key crypto.Signer, certFile, keyFile string) (tls.Certificate, error) {
	public, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool })
	if !ok || !public.Equal(chain[0].PublicKey) {
		return tls.Certificate{}, fmt.Errorf("the key in %s does not belong to the first certificate in %s: give a key and a certificate that belong together", keyFile, certFile)
	}
	if chain[0].IsCA {
		return tls.Certificate{}, fmt.Errorf("the first certificate in %s belongs to a CA: the certificate to show to peers must come first", certFile)
	}
	c := tls.Certificate{PrivateKey: key, Leaf: chain[0]}
	for _, cert := range chain {
		c.Certificate = append(c.Certificate, cert.Raw)
	}
	return c, nil
}

// parseCertificates reads those of a PEM file, one at least, in their order.
func parseCertificates(file string, text []byte) ([]*x509.Certificate, error) {
	var found []*x509.Certificate
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" && block.Type != "TRUSTED CERTIFICATE" {
			continue
		}
		if len(found) == maxCertificates {
			return nil, fmt.Errorf("%s holds more than %d certificates", file, maxCertificates)
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d in %s cannot be read: %w", len(found)+1, file, err)
		}
		found = append(found, c)
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("%s holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)", file)
	}
	return found, nil
}

func parseCAs(file string, text []byte) ([]*x509.Certificate, error) {
	all, err := parseCertificates(file, text)
	if err != nil {
		return nil, err
	}
	for n, c := range all {
		if c.BasicConstraintsValid && !c.IsCA {
			return nil, fmt.Errorf("certificate %d in %s does not belong to a CA: it cannot be used to trust others", n+1, file)
		}
	}
	return all, nil
}

// parseKey reads the first key of a PEM file.
func parseKey(file string, text []byte) (crypto.Signer, error) {
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if !bytes.HasSuffix([]byte(block.Type), []byte("PRIVATE KEY")) {
			continue
		}
		if block.Type == "ENCRYPTED PRIVATE KEY" || block.Headers["DEK-Info"] != "" {
			return nil, fmt.Errorf("the key in %s is encrypted: decrypt it, or give a PKCS#12 file and its password", file)
		}
		key, err := signerOf(block.Bytes)
		if err != nil { // which may quote the key
			return nil, fmt.Errorf("the key in %s cannot be read: it is not an RSA, ECDSA or Ed25519 key in PKCS#1, SEC 1 or PKCS#8 form", file)
		}
		return key, nil
	}
	return nil, fmt.Errorf("%s holds no key in PEM form (-----BEGIN PRIVATE KEY-----)", file)
}

func signerOf(der []byte) (crypto.Signer, error) {
	if key, err := x509.ParseECPrivateKey(der); err == nil {
		return key, nil
	}
	if key, err := x509.ParsePKCS1PrivateKey(der); err == nil {
		return key, nil
	}
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, err
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, errors.New("it does not sign")
	}
	return signer, nil
}

// parsePKCS12 reads certificate, key and what else is in the file: those between
// the certificate and its CA are sent along, and those that sign themselves are
// CAs to trust.
func parsePKCS12(file string, der []byte, password string) (tls.Certificate, []*x509.Certificate, error) {
	if err := checkIterations(file, der); err != nil {
		return tls.Certificate{}, nil, err
	}
	key, cert, others, err := pkcs12.DecodeChain(der, password)
	switch {
	case errors.Is(err, pkcs12.ErrIncorrectPassword):
		return tls.Certificate{}, nil, fmt.Errorf("wrong password for %s: give the right one in the first line of the password file", file)
	case err != nil:
		return tls.Certificate{}, nil, fmt.Errorf("%s cannot be read as PKCS#12: %w", file, err)
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return tls.Certificate{}, nil, fmt.Errorf("the key in %s does not sign", file)
	}
	chain := []*x509.Certificate{cert}
	var cas []*x509.Certificate
	for _, c := range others {
		if bytes.Equal(c.RawIssuer, c.RawSubject) {
			cas = append(cas, c)
		} else {
			chain = append(chain, c)
		}
	}
	p, err := pair(chain, signer, file, file)
	return p, cas, err
}
