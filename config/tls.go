package config

import "cmp"

// TLS says how TLS is done with other proxies, in both directions. It is
// comparable.
type TLS struct {
	// Records says who protects the bytes after a handshake; empty means
	// OwnRecords.
	Records TLSRecords
	// KeyExchange says which key exchanges are offered and taken; empty means
	// ClassicKeyExchange.
	KeyExchange TLSKeyExchange
}

// TLSRecords names what protects the records of TLS 1.3 connections after their
// handshake, which is crypto/tls's in any case.
type TLSRecords string

const (
	// OwnRecords is this program's own code, where a connection can be taken
	// out of crypto/tls: with TLS 1.3, on Linux, and not in FIPS 140-3 mode.
	OwnRecords TLSRecords = "own"
	// CryptoTLSRecords is Go's crypto/tls.
	CryptoTLSRecords TLSRecords = "crypto/tls"
)

// TLSKeyExchange names a choice of key exchanges.
type TLSKeyExchange string

const (
	// ClassicKeyExchange is elliptic curves: P-256, X25519, P-384.
	ClassicKeyExchange TLSKeyExchange = "classic"
	// HybridKeyExchange prefers X25519MLKEM768, which traffic recorded today
	// needs against the quantum computers of the future, and takes the classic
	// ones where a peer does not have it.
	HybridKeyExchange TLSKeyExchange = "hybrid"
)

// tlsKeys stand at the top of a file, and in the opaque configuration of a proxy
// that an agent knows.
var tlsKeys = keys[Config]{
	"tls_records":      into(func(c *Config) *TLSRecords { return &c.TLS.Records }, named[TLSRecords]),
	"tls_key_exchange": into(func(c *Config) *TLSKeyExchange { return &c.TLS.KeyExchange }, named[TLSKeyExchange]),
}

// Override returns t with what is set in by.
func (t TLS) Override(by TLS) TLS {
	return TLS{
		Records:     cmp.Or(by.Records, t.Records),
		KeyExchange: cmp.Or(by.KeyExchange, t.KeyExchange),
	}
}

func (t TLS) withDefaults() TLS {
	return TLS{Records: OwnRecords, KeyExchange: ClassicKeyExchange}.Override(t)
}

// Validate names every mistake in t; what is empty is none.
func (t TLS) Validate() []Mistake {
	var v checks
	v.tls(t)
	return v.mistakes
}

func (v *checks) tls(t TLS) {
	switch t.Records {
	case "", OwnRecords, CryptoTLSRecords:
	default:
		v.addMistake("tls_records", quoted(string(t.Records)), "use own or crypto/tls")
	}
	switch t.KeyExchange {
	case "", ClassicKeyExchange, HybridKeyExchange:
	default:
		v.addMistake("tls_key_exchange", quoted(string(t.KeyExchange)), "use classic or hybrid")
	}
}
