package edge

import (
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// boundRest bounds how long the kernel keeps what a client has not taken when its
// connection is closed, which otherwise is some minutes after it has last taken
// anything.
func boundRest(c net.Conn, limit time.Duration) {
	sc, ok := c.(syscall.Conn)
	if !ok {
		return
	}
	if rc, err := sc.SyscallConn(); err == nil {
		_ = rc.Control(func(fd uintptr) {
			_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(limit.Milliseconds()))
		})
	}
}
