package micro

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"connect-proxy/config"
	"connect-proxy/listener"
)

// errorID says in Micro's errors who made them.
const errorID = "connect-proxy"

// maxDetail bounds the text of an error, in bytes: it travels in a header.
const maxDetail = 1 << 10

// failure is why a message got no answer of its service.
type failure struct {
	code   int    // an HTTP status, as in all errors of Micro
	reason string // one word
	err    error
}

func (f *failure) Error() string { return f.reason + ": " + f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// envelope is Micro's form of an error.
type envelope struct {
	ID     string `json:"id"`
	Code   int    `json:"code"`
	Detail string `json:"detail"`
	Status string `json:"status"`
}

// encode returns the failure in Micro's form. It fits a header: JSON has no
// control characters.
func (f *failure) encode() string {
	detail := f.Error()
	if len(detail) > maxDetail {
		detail = strings.ToValidUTF8(detail[:maxDetail], "")
	}
	b, _ := json.Marshal(envelope{ID: errorID, Code: f.code, Detail: detail, Status: http.StatusText(f.code)})
	return string(b)
}

// codes are what a client is told for the reason why there is no connection to a
// service: nothing has been sent. Clients repeat 408 by themselves, and old ones
// 500.
var codes = map[listener.Reason]int{
	listener.ReasonDenied:              http.StatusForbidden,
	listener.ReasonUpstreamDenied:      http.StatusForbidden,
	listener.ReasonNoEndpoints:         http.StatusNotFound,
	listener.ReasonDialTimeout:         http.StatusRequestTimeout,
	listener.ReasonUpstreamUnavailable: http.StatusServiceUnavailable,
}

// undelivered is for a message of which nothing has been sent, for a reason of
// listener's.
func undelivered(r listener.Reason, err error) *failure {
	code, ok := codes[r]
	if !ok {
		code = http.StatusServiceUnavailable
	}
	return &failure{code: code, reason: r.String(), err: err}
}

// notDialled is for a service that there is no connection to.
func notDialled(err error) *failure { return undelivered(listener.ReasonOf(err), err) }

// notAnswered is for a message that was sent and got no whole answer: what it
// asks for may have been done.
func notAnswered(ctx context.Context, err error) *failure {
	if errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
		return &failure{http.StatusGatewayTimeout, "timeout", errNoAnswerInTime}
	}
	return &failure{http.StatusBadGateway, listener.ReasonUpstreamReset.String(), err}
}

// badRequest is for a message that cannot be understood.
func badRequest(err error) *failure { return &failure{http.StatusBadRequest, "bad_request", err} }

// notAllowed is for a service that clients may not call through here.
func notAllowed(block string, d config.Destination) *failure {
	return undelivered(listener.ReasonDenied, fmt.Errorf("%s does not allow %s: add it to allow", block, d.Pattern()))
}

var (
	errNoAnswerInTime = errors.New("the service has not answered within the time that the call allows, and may have done what was asked")
	errNoService      = errors.New("the message names no service: it has no header Micro-Service")
	errLateStream     = errors.New("a stream must begin with the first message of a connection")
	errBrowser        = errors.New("requests from web pages in a browser are refused: a page may not call services")
	errHostName       = errors.New("a web page may have sent this request: a program is to use localhost or an IP address in place of the proxy's name, or that name is to be listed in micro.host_names; browsers may not call services")
	errPageUnknown    = errors.New("a browser may have sent this request for a web page, and pages may not call services: a program is to use localhost, or to leave out a User-Agent of Mozilla/ and an Accept-Language")
	errNoPath         = errors.New("the request has no path: * names no service")
	errUnasked        = errors.New("the service sent something that nobody had asked for")
	errGivenUp        = errors.New("the connection is no longer used")
	errSwitched       = errors.New("the service wants to switch protocols, which is not possible in a call")
	errStatus         = errors.New("the service has answered with an invalid status code")
	errLongHeader     = errors.New("the header of the answer is too long")
)
