//go:build unix && !linux

package agenttest

import "syscall"

// sysProcAttr puts a child into a group of its own, out of the terminal's
// reach.
func sysProcAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
