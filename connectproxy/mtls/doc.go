// Package mtls is how connections between proxies are secured, wherever their
// certificates come from: the TLS settings of both sides, session tickets that
// are judged as full handshakes are, and chains to certificate authorities. Who a
// peer has to be is its users' to say, in VerifyConnection.
//
// It starts no goroutine, and everything in it is safe for concurrent use.
package mtls
