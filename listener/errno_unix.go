//go:build !windows

package listener

import (
	"errors"
	"syscall"
)

// isReset reports whether the other side ended the connection abortively.
func isReset(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) ||
		errors.Is(err, syscall.EPIPE) ||
		errors.Is(err, syscall.ECONNABORTED)
}

// isLost reports whether the kernel gave up on a side that no longer answers.
func isLost(err error) bool {
	return errors.Is(err, syscall.ETIMEDOUT) ||
		errors.Is(err, syscall.EHOSTUNREACH) ||
		errors.Is(err, syscall.ENETUNREACH) ||
		errors.Is(err, syscall.ENETDOWN)
}

// isAddrInUse and isRefused tell a socket file from one that somebody answers.

func isAddrInUse(err error) bool { return errors.Is(err, syscall.EADDRINUSE) }
func isRefused(err error) bool   { return errors.Is(err, syscall.ECONNREFUSED) }
