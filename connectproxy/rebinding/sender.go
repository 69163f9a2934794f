package rebinding

import (
	"net/http"
	"strings"
)

// PageUnknown reports whether a browser may have sent r without saying whose page
// asks, so that it may be anybody's, under whatever name. Browsers say so with GET
// only to localhost, to loopback addresses and over TLS, which a proxy in front may
// have taken off. Who has no host, or came over a unix socket, is no browser. It is
// safe for concurrent use.
//
// Unlike a page whose own name was led here, that of another site cannot set
// User-Agent, and Accept-Language only with some requests (Fetch, CORS-safelisted
// request-header). "*" is what programs send whose language has a fetch of its own,
// as Node.js, whose User-Agent is not that of a browser.
func PageUnknown(r *http.Request) bool {
	if r.Host == "" || onSocket(r) || r.Header.Get("Origin") != "" || r.Header.Get("Sec-Fetch-Site") != "" {
		return false
	}
	if name, ok := Hostname(r.Host); ok && loopback(name) {
		return false
	}
	language := r.Header.Get("Accept-Language")
	return language != "" && language != "*" || strings.HasPrefix(r.UserAgent(), "Mozilla/")
}

// speculative are headers that browsers send with what they fetch before anybody has
// asked for it: the first is the standard's (Fetch, 3.7), the others are older.
var speculative = []string{"Sec-Purpose", "Purpose", "X-Purpose", "X-Moz"}

// Typed reports whether a browser says of r that its user has asked for what is to be
// shown, by the address bar, a bookmark or another program, and no page. Browsers say
// Sec-Fetch-Site: none also of what they look up for themselves, such as a certificate's
// issuer at an address that the certificate of any site names, and of what a page of
// any site has them load ahead (speculation rules); neither is shown. A site that the
// user has asked for may still lead here, by a redirect. It is safe for concurrent use.
func Typed(r *http.Request) bool {
	h := r.Header
	for _, name := range speculative {
		if h[name] != nil {
			return false
		}
	}
	return h.Get("Sec-Fetch-Site") == "none" && h.Get("Sec-Fetch-Mode") == "navigate" &&
		h.Get("Sec-Fetch-Dest") == "document" && h.Get("Origin") == ""
}
