// Package secure carries TLS connections: the handshake of either side, and the
// stream behind it.
package secure
