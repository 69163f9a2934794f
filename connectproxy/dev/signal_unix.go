//go:build unix

package dev

import (
	"os"
	"syscall"
)

// interrupt asks a child to end, as an agent does.
func interrupt(p *os.Process) error { return p.Signal(syscall.SIGINT) }
