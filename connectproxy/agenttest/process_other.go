//go:build !unix

package agenttest

import (
	"os"
	"syscall"
)

// There is no signal but os.Kill: a test that pauses an agent fails.
var (
	sigStop os.Signal = syscall.Signal(0)
	sigCont os.Signal = syscall.Signal(0)
	sigTerm os.Signal = os.Kill
)

func sysProcAttr() *syscall.SysProcAttr { return nil }

// killGroup kills the process: there are no groups.
func killGroup(pid int) {
	if p, err := os.FindProcess(pid); err == nil {
		_ = p.Kill()
	}
}
