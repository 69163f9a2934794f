// Package byname answers clients that ask for a service by its name, with SOCKS5
// (RFC 1928, and user names as in RFC 1929), with HTTP CONNECT (RFC 9110 9.3.6) or,
// for plain HTTP, with the requests that are sent to an HTTP proxy, all on one port.
// It reads what a client asks for and checks whether that is allowed; connecting is
// left to the dynamic upstreams.
//
// A Server provides the listener.RequestFunc of a listener.Listener. After the
// exchange of SOCKS5 or CONNECT, the bytes are relayed like those of every other
// connection. Plain HTTP is served by net/http and httputil.ReverseProxy, whose
// connections to services are opened by the dynamic upstreams too.
//
// # Limits
//
// Until it has asked for something, a client counts as an unfinished handshake of
// its listener, which limits the number and the time of these. What a client may send
// before that is limited as well: a SOCKS5 request by its format, the header of an
// HTTP request by maxHead.
//
// # Goroutines
//
// A client is served by the goroutine of its connection. For plain HTTP, net/http has
// a second one for each client, and two for each connection to a service, which end
// with these connections. CloseIdle closes the connections that are kept for later.
package byname
