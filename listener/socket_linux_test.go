package listener_test

import (
	"net"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"connect-proxy/listener"
)

// option reads a socket option of a connection.
func option(t *testing.T, c syscall.Conn, level, name int) int {
	t.Helper()
	rc, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var value int
	if cerr := rc.Control(func(fd uintptr) { value, err = unix.GetsockoptInt(int(fd), level, name) }); cerr != nil || err != nil {
		t.Fatal(cerr, err)
	}
	return value
}

// TestDeadPeersAreNoticedWithinTwoMinutes looks at what the kernel was told:
// accepted sockets must have inherited it.
func TestDeadPeersAreNoticedWithinTwoMinutes(t *testing.T) {
	ln, err := listener.Listen(t.Context(), "tcp", "0.0.0.0:0", 0)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	dialled, err := listener.NewDialer().DialContext(t.Context(), "tcp", "127.0.0.1:"+port)
	if err != nil {
		t.Fatal(err)
	}
	defer dialled.Close()
	accepted, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer accepted.Close()

	c := accepted.(*net.TCPConn)
	if option(t, c, unix.SOL_SOCKET, unix.SO_KEEPALIVE) != 1 {
		t.Fatal("accepted connection has no keep-alive")
	}
	seconds := option(t, c, unix.IPPROTO_TCP, unix.TCP_KEEPIDLE) +
		option(t, c, unix.IPPROTO_TCP, unix.TCP_KEEPCNT)*option(t, c, unix.IPPROTO_TCP, unix.TCP_KEEPINTVL)
	if seconds < 60 || seconds >= 120 {
		t.Errorf("a dead peer is noticed after %d s", seconds)
	}
	if option(t, c, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT) != 0 {
		t.Error("a living peer that does not read would be cut off")
	}
	if option(t, c, unix.IPPROTO_TCP, unix.TCP_NODELAY) != 1 {
		t.Error("small messages are delayed")
	}
	if option(t, dialled.(*net.TCPConn), unix.SOL_SOCKET, unix.SO_KEEPALIVE) != 0 {
		t.Error("keep-alives on loopback")
	}
}
