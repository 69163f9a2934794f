//go:build unix

package cli

import "syscall"

// maxOpenFiles is how many descriptors the process may hold. Go itself has raised
// it to the hard limit (less one) before main began; more is for a supervisor's
// setting to give.
func maxOpenFiles() uint64 {
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) != nil {
		return 0
	}
	return uint64(limit.Cur) //nolint:unconvert // it is signed on FreeBSD
}
