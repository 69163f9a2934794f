package mtls

import (
	"crypto/tls"
	"time"

	"connect-proxy/config"
	"connect-proxy/listener/secure"
)

// keyExchanges are what servers take. The hybrid with ML-KEM, which Go would
// prefer, is a choice of the configuration, since it costs CPU:
// docs/decisions/0006 has the reasons.
var keyExchanges = []tls.CurveID{tls.X25519, tls.CurveP256, tls.CurveP384}

// offeredExchanges are what clients offer. crypto/tls goes by an order of
// its own, X25519 first, so that is left out here: P-256, which every TLS 1.3
// server must know (RFC 8446 9.1), is the faster one in Go.
var offeredExchanges = []tls.CurveID{tls.CurveP256, tls.CurveP384}

// hybridExchanges are what either side offers and takes in their place where
// the hybrid is chosen.
var hybridExchanges = append([]tls.CurveID{tls.X25519MLKEM768}, keyExchanges...)

// ServerConfig returns what is the same for all servers: key exchanges by t,
// minVersion as crypto/tls numbers it, and the clock. The caller adds certificates,
// ClientAuth, VerifyConnection and MarkTickets: without them it verifies nobody.
func ServerConfig(t config.TLS, minVersion uint16, now func() time.Time) *tls.Config {
	exchanges := keyExchanges
	if t.KeyExchange == config.HybridKeyExchange {
		exchanges = hybridExchanges
	}
	return &tls.Config{
		MinVersion:       minVersion,
		CurvePreferences: exchanges,
		Time:             now,
		// Small first records serve a browser that renders as it reads. Here
		// they would only cost the start of each transfer.
		DynamicRecordSizingDisabled: true,
	}
}

// ClientConfig returns what is the same for all clients, from TLS 1.2 on. The caller
// adds certificates, InsecureSkipVerify with VerifyConnection, and a ClientSession
// of its own for each server.
func ClientConfig(t config.TLS, now func() time.Time) *tls.Config {
	cfg := ServerConfig(t, tls.VersionTLS12, now)
	if t.KeyExchange != config.HybridKeyExchange {
		cfg.CurvePreferences = offeredExchanges
	}
	return cfg
}

// WithRecords returns cfg with t's choice of what protects the records: this
// program, or crypto/tls.
func WithRecords(cfg *tls.Config, t config.TLS) *secure.Config {
	return &secure.Config{TLS: cfg, OwnRecords: t.Records != config.CryptoTLSRecords}
}
