package record

import (
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	_ "crypto/sha256" // the hash of two of the suites
	_ "crypto/sha512" // and of the third
	"crypto/tls"

	"golang.org/x/crypto/chacha20poly1305"
)

// Suite is what a cipher suite of TLS 1.3 is made of, RFC 8446 B.4.
type Suite struct {
	// Hash is the suite's hash, for the derivation of keys.
	Hash crypto.Hash
	// KeyLen is the length of a key in bytes.
	KeyLen int
	aead   func(key []byte) (cipher.AEAD, error)
}

// SuiteByID returns the suite with the given identifier, and whether there is
// one.
func SuiteByID(id uint16) (Suite, bool) {
	switch id {
	case tls.TLS_AES_128_GCM_SHA256:
		return Suite{crypto.SHA256, 16, newGCM}, true
	case tls.TLS_AES_256_GCM_SHA384:
		return Suite{crypto.SHA384, 32, newGCM}, true
	case tls.TLS_CHACHA20_POLY1305_SHA256:
		return Suite{crypto.SHA256, chacha20poly1305.KeySize, chacha20poly1305.New}, true
	}
	return Suite{}, false
}

func newGCM(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}
