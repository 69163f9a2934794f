package config

import (
	"net/netip"
	"path/filepath"
	"strings"
)

// Overlaps reports that the two addresses cannot both be bound: the same socket
// path, or the same port where one host includes the other, as localhost does
// 127.0.0.1.
func (a Address) Overlaps(b Address) bool {
	if a.Path != "" || b.Path != "" {
		return a.Path != "" && b.Path != "" && filepath.Clean(a.Path) == filepath.Clean(b.Path)
	}
	if a.Port != b.Port || a.Port == 0 {
		return false
	}
	return covers(a.Host, b.Host) || covers(b.Host, a.Host)
}

// covers reports that a socket bound to host takes other's port too. Linux
// binds :: for IPv4 as well unless told otherwise, and so does Go.
func covers(host, other string) bool {
	if host == "" || strings.EqualFold(host, other) {
		return true
	}
	ip, named := literal(host), literal(other)
	switch {
	case strings.EqualFold(host, "localhost"):
		return named.IsLoopback() && (named == netip.IPv6Loopback() || named == netip.AddrFrom4([4]byte{127, 0, 0, 1}))
	case !ip.IsValid():
		return false
	case ip == netip.IPv6Unspecified():
		return true
	case ip == netip.IPv4Unspecified():
		// A name may stand for an IPv4 address, and mostly does.
		return !named.IsValid() || named.Is4()
	}
	return ip == named
}
