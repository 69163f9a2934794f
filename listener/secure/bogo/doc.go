// Package bogo holds TLS as this program speaks it against BoringSSL's tests of
// TLS, BoGo: thousands of handshakes and exchanges with a peer that breaks the
// protocol in one way each. It has tests only.
//
// Nothing of BoringSSL is part of this repository. The tests run where a runner
// that is already built is named by the environment, in BoringSSL's directory
// ssl/test/runner, and are skipped elsewhere; the counts in docs/security.md are
// of the runner of June 2025:
//
//	BOGO_RUNNER=/path/to/ssl/test/runner/runner.test go test ./listener/secure/bogo
//
// The runner starts the program under test, its shim, once for each of its
// tests. The test binary is that shim (see shim), on one of several paths: what
// passes with crypto/tls alone must pass on every other one, but for the
// differences that testdata/differences.txt lists with their reasons.
package bogo
