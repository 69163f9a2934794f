package config

import (
	"net/netip"
	"path/filepath"
	"strconv"
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

// literal is the IP address that a host is, or the zero Addr for a name.
func literal(host string) netip.Addr {
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return netip.Addr{}
	}
	return ip.Unmap()
}

// loopback reports that a host is surely this machine.
func loopback(host string) bool {
	return strings.EqualFold(host, "localhost") || literal(host).IsLoopback()
}

// wildcard reports that a host is every address, or every IPv4 one.
func wildcard(host string) bool {
	return host == "" || literal(host).IsUnspecified()
}

// validHost reports that s may be an IP address or a host name.
func validHost(s string) bool {
	if literal(s).IsValid() {
		return true
	}
	_, last, _ := cutLast("."+s, ".")
	if _, err := strconv.Atoi(last); s == "" || len(s) > 253 || err == nil {
		return false // a last label of digits makes it an address that is none
	}
	return !strings.ContainsFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-._", r))
	})
}
