package systemtest_test

import (
	"net"
	"syscall"
	"testing"
	"time"
)

// unresponsive is the port of an application whose host drops what comes in: a
// socket with a full queue, to which no connection is ever made.
func unresponsive(t *testing.T) int {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	raw, err := ln.(*net.TCPListener).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var listen error
	if err := raw.Control(func(fd uintptr) { listen = syscall.Listen(int(fd), 0) }); err != nil || listen != nil {
		t.Fatal(err, listen)
	}
	for range 16 {
		c, err := net.DialTimeout("tcp", ln.Addr().String(), 300*time.Millisecond)
		if err != nil {
			return ln.Addr().(*net.TCPAddr).Port
		}
		t.Cleanup(func() { c.Close() })
	}
	t.Fatal("the queue of a socket does not fill")
	return 0
}
