package listener

import (
	"errors"
	"syscall"
)

// Winsock's numbers; package syscall defines only some of them.
const (
	wsaENetDown     = syscall.Errno(10050)
	wsaENetUnreach  = syscall.Errno(10051)
	wsaENetReset    = syscall.Errno(10052)
	wsaETimedOut    = syscall.Errno(10060)
	wsaEHostUnreach = syscall.Errno(10065)
)

// isReset reports whether the other side ended the connection abortively.
func isReset(err error) bool {
	return errors.Is(err, syscall.WSAECONNRESET) || errors.Is(err, syscall.WSAECONNABORTED)
}

// isLost reports whether the system gave up on a side that no longer answers.
func isLost(err error) bool {
	return errors.Is(err, wsaETimedOut) ||
		errors.Is(err, wsaENetReset) ||
		errors.Is(err, wsaEHostUnreach) ||
		errors.Is(err, wsaENetUnreach) ||
		errors.Is(err, wsaENetDown)
}
