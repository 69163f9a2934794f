//go:build unix

package listener

import (
	"errors"
	"io"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// peeks reports whether awaitByte tells a client that sends nothing.
const peeks = true

// awaitByte waits until the client has sent a byte, which stays unread. It
// costs one system call and brings two things: a stranger that sends nothing
// holds no TLS state and makes no stack grow, and a TCP health check is told exactly
// from a handshake that was broken off. An error is the end of the
// connection, or its deadline.
func awaitByte(raw net.Conn) error {
	sc, ok := raw.(syscall.Conn)
	if !ok {
		return nil
	}
	rc, err := sc.SyscallConn()
	if err != nil {
		return err
	}
	var (
		b    [1]byte
		n    int
		fail error
	)
	err = rc.Read(func(fd uintptr) bool {
		for {
			n, _, fail = syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK)
			if !errors.Is(fail, syscall.EINTR) {
				return !errors.Is(fail, syscall.EAGAIN)
			}
		}
	})
	switch {
	case err != nil:
		return err
	case fail != nil:
		return fail
	case n == 0:
		return io.EOF
	}
	return nil
}

// readable reports whether something waits in a socket: bytes that nobody has
// read, its end, or with a listener a client that nobody has accepted.
func readable(socket any) bool {
	sc, ok := socket.(syscall.Conn)
	if !ok {
		return false
	}
	rc, err := sc.SyscallConn()
	if err != nil {
		return false
	}
	var n int
	err = rc.Control(func(fd uintptr) {
		n, _ = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
	})
	return err == nil && n > 0
}

// brokenBy returns what has broken a socket's connection, such as a reset, where
// nobody has been told yet: who reads is told only behind the bytes that came before.
// It is told once.
func brokenBy(socket net.Conn) error {
	sc, ok := socket.(syscall.Conn)
	if !ok {
		return nil
	}
	var errno int
	if rc, err := sc.SyscallConn(); err == nil {
		_ = rc.Control(func(fd uintptr) {
			errno, _ = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR)
		})
	}
	if errno == 0 {
		return nil
	}
	return syscall.Errno(errno)
}
