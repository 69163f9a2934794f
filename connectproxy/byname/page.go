package byname

import (
	"errors"
	"net/http"

	"connect-proxy/connectproxy/rebinding"
)

// fromAnotherSite returns why it may be a page in a browser that has sent a request,
// which knows the path and the proxy's address; nil if it cannot be. Who takes the
// port for a proxy, as a URL with its host says, may ask for any name.
func (a *access) fromAnotherSite(r *http.Request) error {
	switch {
	case r.URL.Scheme == "" && rebinding.Possible(r, a.remote, a.hosts...):
		return errAnotherName
	case rebinding.PageUnknown(r):
		return errPageUnknown
	}
	switch r.Header.Get("Sec-Fetch-Site") {
	case "same-origin":
		return nil // also where a proxy with TLS is in front, whose Origin is https
	case "":
		if origin := r.Header.Get("Origin"); origin == "" || origin == "http://"+r.Host {
			return nil
		}
	case "none":
		if rebinding.Typed(r) {
			return nil
		}
	}
	return errAnotherSite
}

var (
	errAnotherName = errors.New("a page of another site may have sent this request: use localhost; a program may also use an IP address, or the proxy's name if by_name.host_names lists it")
	errPageUnknown = errors.New("a browser may have sent this request for a page of any site, which it says only to localhost and over TLS: use localhost, or a proxy with TLS in front; a program must not send a User-Agent of Mozilla/ or an Accept-Language there")
	errAnotherSite = errors.New("no user of a browser has sent this request, nor a page that comes from here: only these may have it send one")
)
