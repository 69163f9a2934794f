package requestbody

import (
	"bufio"
	"net"
	"net/http"
)

// writer answers a request. It has the connection end after the answer where what
// comes next on it may not be a request.
type writer struct {
	http.ResponseWriter
	body *Body
	// last is for requests with chunks, which may have had a Content-Length too, and
	// for those of HTTP/1.0, which has no chunks: net/http takes away what contradicts,
	// and by which whoever is in front of us may have gone (RFC 9112, section 6.1).
	last  bool
	begun bool // the header of the answer was written
}

func newWriter(w http.ResponseWriter, r *http.Request, b *Body) *writer {
	answer := &writer{ResponseWriter: w, body: b, last: b.old || len(r.TransferEncoding) > 0}
	answer.end() // also where a handler writes nothing
	return answer
}

// end has the connection end after the answer, if it must.
func (w *writer) end() {
	if w.last {
		w.Header().Set("Connection", "close")
	}
}

// WriteHeader is http.ResponseWriter's. What was set before may have gone with an
// informational answer (httputil.ReverseProxy).
func (w *writer) WriteHeader(status int) {
	if status < http.StatusOK {
		w.inform(status)
		return
	}
	w.begun = true
	w.body.discard()
	w.last = w.last || w.body.unread()
	w.end()
	w.ResponseWriter.WriteHeader(status)
}

// inform passes on an informational answer. HTTP/1.0 has none (RFC 9110, section 15.2).
// To a client that waits for leave to send its body the server writes 100 by itself as
// soon as the body is read. net/http keeps that from being written into another 100 or
// into the answer, but not into other informational answers. These are dropped until
// the client has got leave.
func (w *writer) inform(status int) {
	if w.body.old || status != http.StatusContinue && w.body.awaitsLeave() {
		return
	}
	w.ResponseWriter.WriteHeader(status)
	if status == http.StatusContinue {
		w.body.gotLeave()
	}
}

// Write is io.Writer's.
func (w *writer) Write(p []byte) (int, error) {
	if !w.begun {
		w.WriteHeader(http.StatusOK)
	}
	return w.ResponseWriter.Write(p)
}

// FlushError is for http.ResponseController.
func (w *writer) FlushError() error {
	if !w.begun {
		w.WriteHeader(http.StatusOK)
	}
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// Hijack is for http.ResponseController. What the client has sent already comes first:
// httputil.ReverseProxy reads from the connection alone.
func (w *writer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	c, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err == nil && rw.Reader.Buffered() > 0 {
		c = &hijacked{Conn: c, first: rw.Reader}
	}
	return c, rw, err
}

// hijacked is a connection of which something has been read. One goroutine reads. A
// library for websockets may have first read on from this connection: first is asked
// only while it has something, so that the two do not ask each other.
type hijacked struct {
	net.Conn
	first *bufio.Reader
}

// Read is io.Reader's.
func (h *hijacked) Read(p []byte) (int, error) {
	if n := h.first.Buffered(); n > 0 {
		return h.first.Read(p[:min(n, len(p))])
	}
	return h.Conn.Read(p)
}

// CloseWrite ends the sending direction.
func (h *hijacked) CloseWrite() error {
	if w, ok := h.Conn.(interface{ CloseWrite() error }); ok {
		return w.CloseWrite()
	}
	return nil
}

// Unwrap is for http.ResponseController.
func (w *writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }
