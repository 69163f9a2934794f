//go:build !linux

package cli

import "syscall"

// endsWithUs has a command asked to end when this process is killed, where the
// system can do that.
func endsWithUs() *syscall.SysProcAttr { return nil }
