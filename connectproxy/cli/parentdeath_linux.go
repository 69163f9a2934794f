package cli

import "syscall"

// parentDeathSignal has a command asked to end when this process is killed.
func parentDeathSignal() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
}
