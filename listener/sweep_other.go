//go:build !linux

package listener

import (
	"syscall"
	"time"
)

// lost is known on Linux only; elsewhere the kernel's own retransmission limit
// decides.
func lost(syscall.Conn, time.Duration) bool { return false }
