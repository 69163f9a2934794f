package micro

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"connect-proxy/config"
	"connect-proxy/connectproxy/rebinding"
	"connect-proxy/listener"
)

// destination is where a message is to go, if it may. What it returns besides a
// failure is for logs.
func (s *Server) destination(r *http.Request) (config.Destination, *failure) {
	name := r.Header.Get(headerService)
	switch {
	case s.fromPage(r) || name == "" && fromBrowser(r):
		return config.Destination{}, undelivered(listener.ReasonDenied, errBrowser)
	case name == "":
		return config.Destination{}, badRequest(errNoService)
	}
	return s.named(name)
}

// named is the destination of that name, if it may be called.
func (s *Server) named(name string) (config.Destination, *failure) {
	d, err := s.o.Destination(name)
	if err != nil {
		return config.Destination{}, badRequest(err)
	}
	if !s.rules.Load().allow.Allows(d) {
		return d, notAllowed(s.rules.Load().block, d)
	}
	return d, nil
}

// fromBrowser reports whether a page in a browser on this machine may have sent a
// request. Every browser of today sends one of these headers with a POST.
func fromBrowser(r *http.Request) bool {
	return r.Header["Origin"] != nil || r.Header["Sec-Fetch-Site"] != nil
}

// fromPage reports whether a page may have sent a message. A message may have a
// browser's headers without, where an application hands on those of the request that
// it answers. A page of another site sends none, since a browser asks before it sends
// the header Micro-Service to another origin (CORS), and gets no leave here. There
// remain pages that came from here, also where they do not say so ("null"), and those
// whose name was led here.
func (s *Server) fromPage(r *http.Request) bool {
	return fromBrowser(r) && (s.underOthersName(r) || slices.ContainsFunc(r.Header["Origin"], func(origin string) bool {
		_, host, full := strings.Cut(origin, "://")
		return !full || strings.EqualFold(host, r.Host)
	}))
}

// underOthersName reports whether a request may be for a name that was led here.
func (s *Server) underOthersName(r *http.Request) bool {
	rules := s.rules.Load()
	return rebinding.Possible(r, rules.RemoteClients, append([]string{rules.Bind.Host}, rules.HostNames...)...)
}

// serveMessage takes one message of a client to its service, and the answer
// back.
func (s *Server) serveMessage(w http.ResponseWriter, r *http.Request) {
	c := &call{server: s, w: w, r: r, control: http.NewResponseController(w)}
	if !r.ProtoAtLeast(1, 1) || len(r.TransferEncoding) > 0 {
		// Whoever is in front of us may see the end of the message elsewhere, as
		// with other requests (requestbody).
		w.Header().Set("Connection", "close")
	}
	to, failed := s.destination(r)
	if failed == nil && r.Header.Get(headerStream) != "" {
		failed = badRequest(errLateStream)
	}
	if failed != nil {
		s.refused(r, r.Header.Get(headerService), failed)
		c.fail(failed)
		return
	}
	ctx := r.Context()
	if d := timeoutOf(r.Header); d > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d+s.grace)
		defer cancel()
	}
	m, err := readMessage(r, &stalling{r: r.Body, limit: c.control.SetReadDeadline, stall: s.stallTime})
	if err != nil {
		c.fail(unreadable(err))
		return
	}
	defer m.free()
	m.to = to
	x, response, failed := clientOf(r).session.call(ctx, m)
	if failed != nil {
		c.fail(failed)
		return
	}
	c.answer(ctx, x, response)
}

// unreadable is for a message that did not come whole.
func unreadable(err error) *failure {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return &failure{http.StatusRequestTimeout, "client_stalled", err}
	}
	return &failure{http.StatusBadRequest, listener.ReasonClientError.String(), err}
}

// call is one message of a client and its answer.
type call struct {
	server  *Server
	w       http.ResponseWriter
	r       *http.Request
	control *http.ResponseController
}

// answer passes the service's answer on. One that is short is whole, or a failure.
func (c *call) answer(ctx context.Context, x *exchange, response *http.Response) {
	body := buffers.Get().(*bytes.Buffer)
	defer buffers.Put(body)
	body.Reset()
	n, err := body.ReadFrom(io.LimitReader(response.Body, maxKept+1))
	switch {
	case err != nil:
		x.end(false)
		c.fail(notAnswered(ctx, err))
	case n <= maxKept:
		// Before the client has the answer: its next call may come at once.
		c.keep(x, response)
		response.ContentLength = n
		c.begin(response)
		_, _ = c.w.Write(body.Bytes())
	default:
		c.begin(response)
		to := &stalling{w: c.w, limit: c.control.SetWriteDeadline, stall: c.server.stallTime}
		if _, err := copyPooled(to, io.MultiReader(body, response.Body)); err != nil {
			x.end(false)
			panic(http.ErrAbortHandler) // the client must not take what it has for the whole
		}
		c.keep(x, response)
	}
}

// keep ends the exchange after an answer that was read to its end.
func (c *call) keep(x *exchange, response *http.Response) {
	if x.end(!response.Close && x.far.reader.Buffered() == 0) {
		clientOf(c.r).session.put(x.far)
	}
}

// begin sends the header of the answer.
func (c *call) begin(response *http.Response) {
	_ = c.control.SetWriteDeadline(time.Now().Add(c.server.stallTime))
	h, not := c.w.Header(), excluded(response.Header)
	for k, v := range response.Header {
		if !not[k] {
			h[k] = v
		}
	}
	for _, k := range []string{"Date", "Content-Type"} {
		if _, ok := h[k]; !ok {
			h[k] = nil // it is not ours to add
		}
	}
	if response.ContentLength >= 0 {
		h.Set("Content-Length", strconv.FormatInt(response.ContentLength, 10))
	}
	c.w.WriteHeader(response.StatusCode)
}

// fail answers with an error of the proxy.
func (c *call) fail(f *failure) {
	c.server.o.Logger.Debug("call failed", "client", c.r.RemoteAddr, "service", c.r.Header.Get(headerService), "code", f.code, "error", f)
	// What is left of the message is read before the answer, if it comes at once.
	_ = c.control.SetReadDeadline(time.Now().Add(lingerTime))
	_ = c.control.SetWriteDeadline(time.Now().Add(c.server.stallTime))
	h := c.w.Header()
	for k, v := range errorHeader(c.r, f) {
		h[k] = v
	}
	c.w.WriteHeader(http.StatusOK)
}

// errorHeader is the header of an answer that says that a message has failed.
func errorHeader(r *http.Request, f *failure) http.Header {
	h := http.Header{}
	for _, k := range []string{headerID, headerService, headerEndpoint, headerMethod, headerStream, "Content-Type"} {
		if v := r.Header.Get(k); v != "" {
			h.Set(k, v)
		}
	}
	h.Set(headerError, f.encode())
	h.Set("Content-Length", "0")
	if r.Header.Get(headerStream) != "" {
		h.Set("Connection", "close") // what follows belongs to a stream that there is not
	}
	return h
}

// answerOf is such an answer as a whole.
func answerOf(r *http.Request, f *failure) []byte {
	var b bytes.Buffer
	b.WriteString("HTTP/1.1 200 OK\r\n")
	_ = errorHeader(r, f).Write(&b)
	b.WriteString("\r\n")
	return b.Bytes()
}

// lingerTime is how long a client that is turned away may go on sending: a reset
// would take its answer away.
const lingerTime = 500 * time.Millisecond

// lingerClose ends what is sent to a client and takes in what it still sends.
func lingerClose(c net.Conn) {
	if w, ok := c.(interface{ CloseWrite() error }); ok {
		_ = w.CloseWrite()
	}
	_ = c.SetReadDeadline(time.Now().Add(lingerTime))
	_, _ = io.Copy(io.Discard, io.LimitReader(c, maxHeader))
}

// reasonOf is the Reason of a connection that ends with f before it was relayed.
func reasonOf(f *failure) listener.Reason {
	if f.code == http.StatusForbidden {
		return listener.ReasonDenied
	}
	return listener.ReasonHandshakeFailed
}
