package rebinding

import (
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strings"
)

// Possible reports whether r may be a request of a stranger's page. A request for one
// of the names that are said to be the server's own is none, wherever it comes from.
// Where other machines reach the server (remote), only browsers are asked for an IP
// address or this machine's host name; elsewhere everybody is asked for localhost or
// a loopback address. Who has no host, or came over a unix socket, is no browser; of
// a Host header that is no host with or without a port, nothing is believed. It is
// safe for concurrent use.
func Possible(r *http.Request, remote bool, own ...string) bool {
	if r.Host == "" || onSocket(r) {
		return false
	}
	name, ok := Hostname(r.Host)
	ip, err := netip.ParseAddr(name)
	// Under 0.0.0.0 and loopback's IPv4-mapped form, which lead here too, browsers do
	// not say whose page asks.
	address := err == nil && !ip.IsUnspecified() && !ip.Is4In6()
	switch {
	case !ok:
		return true
	case loopback(name):
		return false
	case err != nil && slices.ContainsFunc(own, func(s string) bool { return strings.EqualFold(strings.TrimSuffix(s, "."), name) }):
		return false
	case !remote:
		return true
	case address || !ofBrowser(r.Header):
		return false
	}
	return err == nil || !strings.EqualFold(machine(), name)
}

// loopback reports whether a name is one of those to which browsers say whose page
// asks, of all names without TLS: they send Sec-Fetch-Site to localhost, 127.0.0.0/8
// and ::1 (W3C Secure Contexts, 3.1).
func loopback(name string) bool {
	ip, err := netip.ParseAddr(name)
	return strings.EqualFold(name, "localhost") || err == nil && ip.IsLoopback() && !ip.Is4In6()
}

// ofBrowser reports whether a browser may have sent a header. The first two are not
// sent with a GET under a stranger's name; the others are with every request, and a
// page can alter, but not leave out, what they say (Fetch, HTTP-network-or-cache fetch).
func ofBrowser(h http.Header) bool {
	return h["Origin"] != nil || h["Sec-Fetch-Site"] != nil || h["Accept-Language"] != nil ||
		strings.HasPrefix(h.Get("User-Agent"), "Mozilla/")
}

// machine is this machine's host name, empty where it has none.
func machine() string {
	name, _ := os.Hostname()
	return name
}

// onSocket reports whether a request came over a unix socket.
func onSocket(r *http.Request) bool {
	addr, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	return ok && addr.Network() == "unix"
}
