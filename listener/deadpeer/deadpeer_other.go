//go:build !linux

package deadpeer

// Lost is known on Linux only; elsewhere the kernel's own retransmission limit
// decides.
func Lost(int) bool { return false }
