//go:build unix

package dynamic

import (
	"fmt"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// pair returns the two ends of a connection within this process, which are
// sockets so that the relay can serve one of them as it does any other.
func pair() (near, far net.Conn, err error) {
	syscall.ForkLock.RLock()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err == nil {
		unix.CloseOnExec(fds[0])
		unix.CloseOnExec(fds[1])
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, nil, fmt.Errorf("making a connection within the proxy: %w", err)
	}
	if near, err = connOf(fds[0]); err != nil {
		_ = unix.Close(fds[1])
		return nil, nil, err
	}
	if far, err = connOf(fds[1]); err != nil {
		_ = near.Close()
		return nil, nil, err
	}
	return near, far, nil
}

// connOf makes a connection of a descriptor, which it owns.
func connOf(fd int) (net.Conn, error) {
	f := os.NewFile(uintptr(fd), "pair")
	defer func() { _ = f.Close() }() // the connection has its own
	return net.FileConn(f)
}

// hungUp reports whether the other end is closed rather than done with sending.
// Some systems call both the same.
func hungUp(c net.Conn) bool {
	sc, ok := c.(syscall.Conn)
	if !ok {
		return true
	}
	rc, err := sc.SyscallConn()
	if err != nil {
		return true
	}
	up := false
	err = rc.Control(func(fd uintptr) {
		p := []unix.PollFd{{Fd: int32(fd)}}
		n, err := unix.Poll(p, 0)
		up = err == nil && (n == 0 || p[0].Revents&(unix.POLLHUP|unix.POLLERR) == 0)
	})
	return err != nil || !up
}
