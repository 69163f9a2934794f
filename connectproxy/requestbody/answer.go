package requestbody

import (
	"errors"
	"net/http"
)

// OneProtocol takes from a request that is passed on what asks for another protocol,
// if it has a body: where that ends and the other protocol begins, the two sides may
// see differently, and no client has to be granted one. HTTP/1.0 has no others (RFC
// 9110, section 7.8).
func (b *Body) OneProtocol(out *http.Request) {
	if !b.none || b.old {
		out.Header.Del("Connection")
		out.Header.Del("Upgrade")
	}
}

// Answered looks at the header of a service's answer before it is passed on, as
// httputil.ReverseProxy's ModifyResponse. An error is for an answer that must not be:
// net/http panics at a status below 100, and ReverseProxy takes a change of protocols
// that nobody has asked for to be one that was granted, and relays in both directions
// from then on.
func Answered(answer *http.Response) error {
	switch {
	case answer.StatusCode < http.StatusContinue:
		return errStatus
	case answer.StatusCode == http.StatusSwitchingProtocols && answer.Request.Header.Get("Upgrade") == "":
		return errSwitched
	}
	return nil
}

var (
	errStatus   = errors.New("the service has answered with an invalid status code")
	errSwitched = errors.New("the service has switched protocols, which nobody had asked for")
)
