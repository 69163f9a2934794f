package agenttest

import "syscall"

// sysProcAttr puts a child into a group of its own, out of the terminal's
// reach, and has the kernel kill it when the test process ends without having
// done so (a panic, a time-out, SIGKILL).
func sysProcAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
