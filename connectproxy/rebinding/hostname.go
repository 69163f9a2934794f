package rebinding

import (
	"net/netip"
	"strconv"
	"strings"
)

// Hostname returns the name or address in a Host header, or in the target of a
// CONNECT, without the port and without a dot at the end. An IPv6 address has lost its
// brackets. It reports false for what is not a name or an address with or without a
// port: services that are shown a header as it came may read more into it.
func Hostname(host string) (string, bool) {
	if inside, ok := strings.CutPrefix(host, "["); ok {
		address, port, closed := strings.Cut(inside, "]")
		ip, err := netip.ParseAddr(address)
		port, given := strings.CutPrefix(port, ":")
		return address, closed && err == nil && ip.Is6() && (port == "" || given && validPort(port))
	}
	name, port, _ := strings.Cut(host, ":")
	return strings.TrimSuffix(name, "."), port == "" || validPort(port)
}

func validPort(port string) bool {
	_, err := strconv.ParseUint(port, 10, 16)
	return err == nil
}
