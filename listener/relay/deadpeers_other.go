//go:build !linux

package relay

import "net"

// peerIsDead is known on Linux only; elsewhere the kernel's own retransmission limit
// decides.
func peerIsDead(net.Conn) bool { return false }
