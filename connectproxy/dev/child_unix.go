//go:build unix && !linux

package dev

import "syscall"

// childAttributes put a child into a session of its own, out of the reach of
// what a terminal sends.
func childAttributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }

// newGuard kills the children if this process ends without having stopped them.
func newGuard() (*guard, error) { return startGuard() }
