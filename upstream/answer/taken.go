package answer

import (
	"context"
	"io"
	"net/http"
	"strings"
)

// Taken says what became of the answer to one question. It is for the goroutine that
// asked, after the answer.
type Taken struct {
	read func(body io.Reader) error
	done bool
	err  error
}

// Done reports whether the function of With was called, and returns its error. It is
// asked once consul/api has returned without an error; false means that consul/api
// has decoded the answer itself.
func (t *Taken) Done() (bool, error) { return t.done, t.err }

type contextKey struct{}

// With returns a context for one question. read is called with the body of its
// answer if that has status 200, by the goroutine that asks, and need not read to
// the end. Its error does not reach consul/api: Taken.Done has it.
func With(ctx context.Context, read func(body io.Reader) error) (context.Context, *Taken) {
	t := &Taken{read: read}
	return context.WithValue(ctx, contextKey{}, t), t
}

// Transport returns base with the bodies of answers given to the functions of With.
// Other requests are passed on. It is as safe for concurrent use as base is.
func Transport(base http.RoundTripper) http.RoundTripper { return bodyTransport{base} }

type bodyTransport struct{ base http.RoundTripper }

// maxLeft bounds what is read of a body that was left, so that its connection can
// be used again.
const maxLeft = 64 << 10

// RoundTrip carries a request by base. An answer that was taken is JSON's null to
// consul/api.
func (t bodyTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := t.base.RoundTrip(r)
	taken, _ := r.Context().Value(contextKey{}).(*Taken)
	if err != nil || taken == nil || resp.StatusCode != http.StatusOK {
		return resp, err
	}
	taken.done, taken.err = true, taken.read(resp.Body)
	if taken.err == nil {
		_, _ = io.CopyN(io.Discard, resp.Body, maxLeft)
	}
	resp.Body = null{strings.NewReader("null"), resp.Body}
	return resp, nil
}

// CloseIdleConnections is what http.Client's calls.
func (t bodyTransport) CloseIdleConnections() {
	if c, ok := t.base.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// null is a body of JSON's null in the place of the one that it closes.
type null struct {
	io.Reader
	io.Closer
}
