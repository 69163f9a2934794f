package listener

import (
	"io/fs"
	"net"
	"net/netip"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// listenConfig sets the options on the listening socket, once, where the kernel
// hands them down; Go would set each of them on every connection.
func listenConfig(mode fs.FileMode) net.ListenConfig {
	return net.ListenConfig{
		KeepAlive: -1,
		Control: func(network, address string, rc syscall.RawConn) error {
			if network == "unix" {
				return restrict(rc, mode)
			}
			return watch(address, rc)
		},
	}
}

// NewDialer gives a dialer whose connections notice a dead peer within two
// minutes, as those that Listen's sockets accept do. It has no timeout of its
// own: the context brings one.
func NewDialer() *net.Dialer {
	return &net.Dialer{
		KeepAlive: -1,
		Control: func(network, address string, rc syscall.RawConn) error {
			if network == "unix" {
				return nil
			}
			return watch(address, rc)
		},
	}
}

// watch turns on keep-alives, except on loopback: there nothing is lost on the
// way, a process that dies is noticed at once, and four system calls are a part
// of what a short connection costs.
func watch(address string, rc syscall.RawConn) error {
	if a, err := netip.ParseAddrPort(address); err == nil && a.Addr().Unmap().IsLoopback() {
		return nil
	}
	return setOptions(rc, []option{
		{unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
		{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, int(keepAlive.Idle / time.Second)},
		{unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, int(keepAlive.Interval / time.Second)},
		{unix.IPPROTO_TCP, unix.TCP_KEEPCNT, keepAlive.Count},
	})
}

type option struct{ level, name, value int }

func setOptions(rc syscall.RawConn, options []option) error {
	var err error
	cerr := rc.Control(func(fd uintptr) {
		for _, o := range options {
			if err == nil {
				err = unix.SetsockoptInt(int(fd), o.level, o.name, o.value)
			}
		}
	})
	if cerr != nil {
		return cerr
	}
	return err
}

// restrict gives the socket its mode before it has a file, so that there is no
// moment at which others could connect.
func restrict(rc syscall.RawConn, mode fs.FileMode) error {
	if mode == 0 {
		return nil
	}
	var err error
	if cerr := rc.Control(func(fd uintptr) {
		err = unix.Fchmod(int(fd), uint32(mode.Perm()))
	}); cerr != nil {
		return cerr
	}
	return err
}
