//go:build !linux

package relay

import "net"

// lost is known on Linux only; elsewhere the kernel's own retransmission limit
// decides.
func lost(net.Conn) bool { return false }
