package relay

import (
	"crypto/tls"
	"testing"

	"connect-proxy/listener/listenertest"
	"connect-proxy/listener/secure"
)

// configs are configurations that trust each other; version limits
// the protocol unless it is zero.
func configs(t testing.TB, version uint16) (server, client *tls.Config) {
	t.Helper()
	server, client = listenertest.TLSPair(t)
	server.MaxVersion, client.MaxVersion = version, version
	return server, client
}

// own leaves the records to package secure, so that a loop takes the connection.
func own(cfg *tls.Config) *secure.Config { return &secure.Config{TLS: cfg, OwnRecords: true} }
