//go:build unix

package main

import "syscall"

// openFiles is how many descriptors the process may hold. Go's runtime has
// raised it to the hard limit by now; more takes the right to do so, and a
// supervisor's setting.
func openFiles() uint64 {
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) != nil {
		return 0
	}
	return uint64(limit.Cur) //nolint:unconvert // it is signed on FreeBSD
}
