//go:build !unix

package listener

import "net"

// peeks reports whether awaitByte tells a client that sends nothing.
const peeks = false

// awaitByte does nothing here: the handshake itself finds a client that sends
// nothing.
func awaitByte(net.Conn) error { return nil }

// readable cannot be known here.
func readable(any) bool { return false }

// brokenBy cannot be known here.
func brokenBy(net.Conn) error { return nil }
