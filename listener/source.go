package listener

import (
	"net"
	"net/netip"
)

// Networks of IPv6 whose addresses say which IPv4 address they stand for, or that
// a single one of theirs does.
var (
	nat64      = netip.MustParsePrefix("64:ff9b::/96")   // RFC 6052 2.1
	localNAT64 = netip.MustParsePrefix("64:ff9b:1::/48") // RFC 8215
	sixToFour  = netip.MustParsePrefix("2002::/16")      // RFC 3056 2
	teredo     = netip.MustParsePrefix("2001::/32")      // RFC 4380 4
)

// SourceOf is what counts as one client where clients share something: an IPv4
// address, the /64 of an IPv6 address, since a single host commands all of it, and
// for a unix socket the zero Addr.
//
// Behind some IPv6 addresses there is a host of IPv4, which counts by that address:
// a translator (NAT64) and a server of Teredo give all hosts of IPv4 addresses in
// one /64, and a host has 65,536 of 6to4's /64 for its one IPv4 address. Where in
// the addresses of a translator with a prefix of its own (RFC 8215) that address
// stands, and in how many bits, only its operator knows: each of these counts for
// itself.
func SourceOf(a net.Addr) netip.Addr {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	ip := tcp.AddrPort().Addr().Unmap().WithZone("")
	if !ip.IsValid() || ip.Is4() {
		return ip
	}
	b := ip.As16()
	switch {
	case nat64.Contains(ip):
		return netip.AddrFrom4([4]byte(b[12:]))
	case localNAT64.Contains(ip):
		return ip
	case sixToFour.Contains(ip):
		return netip.AddrFrom4([4]byte(b[2:6]))
	case teredo.Contains(ip): // which has it with each bit turned over
		return netip.AddrFrom4([4]byte{^b[12], ^b[13], ^b[14], ^b[15]})
	}
	return netip.PrefixFrom(ip, 64).Masked().Addr()
}

// display is a source as people write it.
func display(source netip.Addr) string {
	switch {
	case !source.IsValid():
		return "unix socket"
	case source.Is4(), localNAT64.Contains(source):
		return source.String()
	}
	return netip.PrefixFrom(source, 64).String()
}
