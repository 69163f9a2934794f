package micro

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"strings"

	"connect-proxy/config"
	"connect-proxy/connectproxy/requestbody"
)

// forward passes an HTTP request on to the service that its first segment names
// (handler=proxy), with its path as it is.
func (s *Server) forward(w http.ResponseWriter, r *http.Request, body *requestbody.Body, namespace string) {
	segment, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	if segment == "" {
		http.NotFound(w, r)
		return
	}
	name := inNamespace(segment, namespace)
	to, failed := s.named(name)
	if failed != nil {
		failed = s.withNamespace(failed, name, namespace)
		s.refused(r, name, failed)
		writeFailure(w, failed)
		return
	}
	r = body.SentOn(r.WithContext(context.WithValue(r.Context(), forwardKey{}, to)))
	proxy := httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) {
			p.Out.URL.Scheme, p.Out.URL.Host = "http", "service"
			p.Out.Host = p.In.Host
			body.OneProtocol(p.Out)
			requestbody.PassTrailers(p)
			if _, ok := w.(*publicWriter); ok {
				p.SetXForwarded()
				p.Out.Header.Set("X-Forwarded-Proto", "https") // the listener has taken TLS off
			}
		},
		ModifyResponse: requestbody.Answered,
		Transport:      s.transport(r),
		FlushInterval:  -1,
		ErrorLog:       s.http.ErrorLog,
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			var dialling *diallingError
			why, client := body.Fault(err)
			switch {
			case errors.As(err, &dialling):
				writeFailure(w, s.withNamespace(notDialled(dialling.err), name, namespace))
			case client:
				writeFailure(w, unreadable(fmt.Errorf("reading the body of the request: %w", why)))
			default:
				writeFailure(w, notAnswered(r.Context(), why))
			}
		},
	}
	proxy.ServeHTTP(w, r)
}

// forwardKey is the key of the destination in the context of a request that is
// passed on.
type forwardKey struct{}

// diallingError marks errors of requests of which nothing was sent.
type diallingError struct{ err error }

func (e *diallingError) Error() string { return e.err.Error() }
func (e *diallingError) Unwrap() error { return e.err }

// transport makes a connection for one request. What is passed on so is seldom:
// nothing is kept. The service is not told (Connection: close): net/http's server would
// close a connection with a body that it has not read before the answer has arrived,
// and a reset takes that away.
func (s *Server) transport(r *http.Request) *http.Transport {
	client := clientOf(r).RemoteAddr()
	return &http.Transport{
		MaxIdleConnsPerHost:    -1,
		DisableCompression:     true,
		MaxResponseHeaderBytes: maxHeader,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			to, _ := ctx.Value(forwardKey{}).(config.Destination)
			c, err := s.o.Dial(ctx, to, client)
			if err != nil {
				return nil, &diallingError{err}
			}
			return requestbody.NewConn(c), nil
		},
	}
}
