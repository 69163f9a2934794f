package listener

import (
	"errors"
	"syscall"
)

// Winsock's numbers; package syscall defines only some of them.
const (
	wsaEAddrInUse   = syscall.Errno(10048)
	wsaENetDown     = syscall.Errno(10050)
	wsaENetUnreach  = syscall.Errno(10051)
	wsaENetReset    = syscall.Errno(10052)
	wsaETimedOut    = syscall.Errno(10060)
	wsaERefused     = syscall.Errno(10061)
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

// isAddrInUse and isRefused tell a socket file from one that somebody answers.

func isAddrInUse(err error) bool { return errors.Is(err, wsaEAddrInUse) }
func isRefused(err error) bool   { return errors.Is(err, wsaERefused) }
