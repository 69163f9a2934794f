//go:build !unix

package cli

import (
	"os"
	"syscall"
)

// forwardedSignals are the signals that run hands to its command.
var forwardedSignals = []os.Signal{os.Interrupt, syscall.SIGTERM}

// exitCode is the code of a process that has ended.
func exitCode(p *os.ProcessState) int { return p.ExitCode() }

// sentByTerminal reports whether the command has got a signal by itself.
func sentByTerminal(os.Signal) bool { return false }
