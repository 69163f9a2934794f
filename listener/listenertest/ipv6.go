package listenertest

import (
	"errors"
	"net"
	"syscall"
	"testing"
)

// HasIPv6 reports whether the loopback has an address of IPv6. The Makefile's test
// tells where it has none.
func HasIPv6(t testing.TB) bool {
	t.Helper()
	ln, err := net.Listen("tcp", "[::1]:0")
	if errors.Is(err, syscall.EADDRNOTAVAIL) || errors.Is(err, syscall.EAFNOSUPPORT) {
		return false
	}
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	return true
}
