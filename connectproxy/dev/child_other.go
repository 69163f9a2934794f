//go:build !unix

package dev

import (
	"os"
	"syscall"
)

func childAttributes() *syscall.SysProcAttr { return nil }

// interrupt ends a child: there is no way to ask it to.
func interrupt(p *os.Process) error { return p.Kill() }

// guard does nothing on this system.
type guard struct{}

func newGuard() (*guard, error) { return nil, nil }

func (*guard) watch(int) {}

func (*guard) forget(int) {}

func (*guard) close() {}
