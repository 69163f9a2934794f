package listener

import (
	"net"
	"net/netip"
	"testing"
)

func TestAnIPv6HostIsOneAddressWhateverItsLastHalf(t *testing.T) {
	for address, want := range map[string]string{
		"192.0.2.7":               "192.0.2.7",
		"::ffff:192.0.2.7":        "192.0.2.7",
		"2001:db8:1:2:3:4:5:6":    "2001:db8:1:2::/64",
		"2001:db8:1:2:ffff:4:5:6": "2001:db8:1:2::/64",
		"2001:db8:1:3:3:4:5:6":    "2001:db8:1:3::/64",
		"fe80::1%eth0":            "fe80::/64",
		"::1":                     "::/64",
		// Behind these are hosts of IPv4.
		"64:ff9b::c000:201":                 "192.0.2.1",
		"64:ff9b::c000:202":                 "192.0.2.2",
		"64:ff9b::1:c000:201":               "64:ff9b::/64", // has the prefix of no translator
		"64:ff9b:1::c000:201":               "64:ff9b:1::c000:201",
		"64:ff9b:1::c000:202":               "64:ff9b:1::c000:202",
		"64:ff9b:1:c000:2:100::":            "64:ff9b:1:c000:2:100::",
		"64:ff9b:2::c000:201":               "64:ff9b:2::/64",
		"2002:c000:201::1":                  "192.0.2.1",
		"2002:c000:201:ffff:1:2:3:4":        "192.0.2.1",
		"2002:c000:202::1":                  "192.0.2.2",
		"2001:0:cb00:7101:0:1:3fff:fdfe":    "192.0.2.1",
		"2001:0:cb00:7101:8000:2:3fff:fdfd": "192.0.2.2",
		"2001:1::3fff:fdfe":                 "2001:1::/64",
	} {
		a := net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(address), 1234))
		if got := display(SourceOf(a)); got != want {
			t.Errorf("%s counts as %s, want %s", address, got, want)
		}
	}
	if got := display(SourceOf(&net.UnixAddr{Name: "/run/x", Net: "unix"})); got != "unix socket" {
		t.Errorf("a unix socket counts as %s", got)
	}
}
