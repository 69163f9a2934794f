//go:build !linux

package cli

import "syscall"

// parentDeathSignal has a command asked to end when this process is killed, where the
// system can do that.
func parentDeathSignal() *syscall.SysProcAttr { return nil }
