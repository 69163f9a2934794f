//go:build unix

package agenttest

import (
	"os"
	"syscall"
)

// What pauses, resumes and reloads a process.
var (
	sigStop os.Signal = syscall.SIGSTOP
	sigCont os.Signal = syscall.SIGCONT
	sigTerm os.Signal = syscall.SIGTERM
)

// killGroup kills every process of the group that pid leads. There may be none.
func killGroup(pid int) { _ = syscall.Kill(-pid, syscall.SIGKILL) }
