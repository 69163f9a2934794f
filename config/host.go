package config

import (
	"net/netip"
	"strconv"
	"strings"
)

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
		return false // with a last label of digits it is meant as an IP address, and is not one
	}
	return !strings.ContainsFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-._", r))
	})
}

// hostNames checks names of the proxy under which requests may be sent.
func (v *checks) hostNames(field string, names []string) {
	for _, name := range names {
		if literal(name).IsValid() || !validHost(name) {
			v.addMistake(field, quoted(name), "not a host name, such as proxy.example.com: no address, no pattern, no port")
		}
	}
}
