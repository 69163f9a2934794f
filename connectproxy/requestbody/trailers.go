package requestbody

import (
	"errors"
	"io"
	"net/http"
	"net/http/httputil"
)

// PassTrailers has what a client has announced to send behind the body of its request
// (RFC 9110, section 6.5) follow the body that is passed on, as a part of
// httputil.ReverseProxy's Rewrite. ReverseProxy copies Trailer before the body is
// read, so that the service would be told of fields that never come. What was not
// announced is dropped.
func PassTrailers(p *httputil.ProxyRequest) {
	if len(p.Out.Trailer) > 0 && p.Out.Body != nil {
		p.Out.Body = &trailed{p.Out.Body, p.In.Trailer, p.Out.Trailer}
	}
}

// trailed is a body with trailers, which a transport writes once it is read.
type trailed struct {
	io.ReadCloser
	from, to http.Header
}

// Read is io.Reader's.
func (t *trailed) Read(b []byte) (int, error) {
	n, err := t.ReadCloser.Read(b)
	if errors.Is(err, io.EOF) {
		for name := range t.to {
			t.to[name] = t.from[name]
		}
	}
	return n, err
}
