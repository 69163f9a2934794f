package byname

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"

	"connect-proxy/config"
	"connect-proxy/connectproxy/rebinding"
	"connect-proxy/listener"
)

// maxHead is the most that the head of a request may have, which is read before
// anything else is done about a client.
const maxHead = 32 << 10

// httpStatus is what HTTP has for a reason.
func httpStatus(r listener.Reason) int {
	switch r {
	case listener.ReasonDenied, listener.ReasonUpstreamDenied:
		return http.StatusForbidden
	case listener.ReasonNoEndpoints, listener.ReasonUpstreamUnavailable, listener.ReasonLimit,
		listener.ReasonDrain, listener.ReasonShutdown:
		return http.StatusServiceUnavailable
	case listener.ReasonDialTimeout, listener.ReasonIdleTimeout, listener.ReasonUpstreamLost:
		return http.StatusGatewayTimeout
	}
	return http.StatusBadGateway
}

// httpAnswer is an answer that is the last thing said.
func httpAnswer(status int, line string) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "HTTP/1.1 %d %s\r\n", status, http.StatusText(status))
	if status == http.StatusProxyAuthRequired {
		fmt.Fprintf(&b, "Proxy-Authenticate: %s\r\n", challenge)
	}
	fmt.Fprintf(&b, "Content-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s\n", len(line)+1, line)
	return b.Bytes()
}

// challenge asks a client who it is.
const challenge = `Basic realm="connect-proxy", charset="UTF-8"`

// oneLine makes an error fit for an answer, with its reason in the words of the log
// where it does not say that itself.
func oneLine(err error) string {
	text := strings.Join(strings.Fields(strings.ToValidUTF8(err.Error(), "?")), " ")
	if r := listener.ReasonOf(err); r != listener.ReasonDialFailed && !strings.Contains(text, r.String()) {
		text = r.String() + ": " + text
	}
	return "connect-proxy: " + text
}

// httpError is an error with the status to answer.
type httpError struct {
	status int
	err    error
}

func (e *httpError) Error() string { return e.err.Error() }
func (e *httpError) Unwrap() error { return e.err }

// statusOf is the status for an error about a request.
func statusOf(err error) int {
	var known *httpError
	switch {
	case errors.As(err, &known):
		return known.status
	case errors.As(err, new(*notAllowed)):
		return http.StatusForbidden
	case errors.Is(err, errNoName):
		return http.StatusBadRequest
	}
	return httpStatus(listener.ReasonOf(err))
}

// http reads what a client of HTTP asks for: a CONNECT itself, and everything
// else as far as its head goes.
func (s *Server) http(raw net.Conn, in *bufio.Reader) (listener.Request, error) {
	head, rest, err := readHead(raw, in)
	if err != nil {
		return listener.Request{}, s.turnAway(raw, err)
	}
	if !bytes.HasPrefix(head, []byte("CONNECT ")) {
		all := append(head, rest...)
		return listener.Request{Serve: func(ctx context.Context, client net.Conn) {
			s.forward.serve(ctx, client, all)
		}}, nil
	}
	name, user, err := s.connect(head)
	r := listener.Request{User: user}
	var d config.Destination
	if err == nil {
		d, err = s.access.Load().destination(name, user, s.o.Destination)
	}
	if d.Name != "" {
		r.Destination = d
	}
	if err != nil {
		return r, s.turnAway(raw, err)
	}
	r.Granted = func(context.Context, listener.Instance) error {
		_, err := io.WriteString(raw, "HTTP/1.1 200 Connection established\r\n\r\n")
		return err
	}
	r.Refused = func(why listener.Reason, err error) { reply(raw, httpAnswer(httpStatus(why), oneLine(err))) }
	r.Dial = func(ctx context.Context) (listener.Target, error) { return s.o.Target(ctx, d) }
	r.Sent = bytes.Clone(rest)
	return r, nil
}

// turnAway answers a client whose request is refused, and returns err with its
// reason.
func (s *Server) turnAway(raw net.Conn, err error) error {
	var timeout net.Error
	if !errors.Is(err, io.ErrUnexpectedEOF) && !(errors.As(err, &timeout) && timeout.Timeout()) {
		reply(raw, httpAnswer(statusOf(err), oneLine(err)))
	}
	return refusal(err)
}

// readHead reads the head of a request, to its empty line, and what has come
// after it.
func readHead(raw net.Conn, in *bufio.Reader) (head, rest []byte, err error) {
	first, _ := in.Peek(in.Buffered())
	all := append(make([]byte, 0, 4096), first...)
	if c := all[0]; c < 'A' || c > 'Z' {
		return nil, nil, &httpError{http.StatusBadRequest, errors.New("neither SOCKS5 nor an HTTP request")}
	}
	for seen := 0; ; {
		if end := endOfHead(all[max(0, seen-3):]); end > 0 {
			end += max(0, seen-3)
			return all[:end:end], all[end:], nil
		}
		if seen = len(all); seen >= maxHead {
			return nil, nil, &httpError{http.StatusRequestHeaderFieldsTooLarge, fmt.Errorf("the header of the request has more than %d bytes", maxHead)}
		}
		if len(all) == cap(all) {
			all = append(make([]byte, 0, min(2*cap(all), maxHead)), all...)
		}
		n, err := raw.Read(all[len(all):cap(all)])
		all = all[:len(all)+n]
		if err != nil && n == 0 {
			return nil, nil, fmt.Errorf("reading an HTTP request: %w", cutShort(err))
		}
	}
}

// endOfHead is where a head ends, behind its empty line; zero if it does not. Lines
// may end without a CR, as net/http has it.
func endOfHead(b []byte) int {
	for i := 0; ; {
		n := bytes.IndexByte(b[i:], '\n')
		if n < 0 {
			return 0
		}
		i += n + 1
		switch {
		case bytes.HasPrefix(b[i:], []byte("\n")):
			return i + 1
		case bytes.HasPrefix(b[i:], []byte("\r\n")):
			return i + 2
		}
	}
}

// connect reads the head of a CONNECT: where to, and who asks.
func (s *Server) connect(head []byte) (name, user string, err error) {
	r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(head)))
	if err != nil {
		return "", "", &httpError{http.StatusBadRequest, fmt.Errorf("not an HTTP request: %w", err)}
	}
	user, err = s.userOf(r)
	switch {
	case err != nil:
		return "", user, err
	case r.ContentLength != 0 || len(r.TransferEncoding) > 0:
		return "", user, &httpError{http.StatusBadRequest, errors.New("a CONNECT request must not have a body")}
	}
	// Not r.URL: there db@dc2 has a user.
	name, ok := rebinding.Hostname(r.RequestURI)
	if !ok {
		return "", user, badRequest(notAHost, r.RequestURI)
	}
	return name, user, nil
}

// notAHost is said of what is there in place of a host.
const notAHost = "%.80q is no name with or without a port: write NAME or NAME:80"

// userOf is who a request says it is from, empty if it does not say.
func (s *Server) userOf(r *http.Request) (string, error) {
	text := r.Header.Get("Proxy-Authorization")
	if text == "" {
		return "", nil
	}
	scheme, encoded, _ := strings.Cut(text, " ")
	decoded, err := base64.StdEncoding.DecodeString(strings.TrimSpace(encoded))
	if !strings.EqualFold(scheme, "Basic") || err != nil {
		return "", &httpError{http.StatusProxyAuthRequired, errors.New("Proxy-Authorization is not of the scheme Basic")}
	}
	name, password, _ := strings.Cut(string(decoded), ":")
	if len(name) > maxUser {
		return "", &httpError{http.StatusProxyAuthRequired, fmt.Errorf("the name of the user has more than %d bytes", maxUser)}
	}
	name = printable(name)
	if !s.access.Load().admits(name, password) {
		return name, listener.WithReason(listener.ReasonDenied, &httpError{http.StatusProxyAuthRequired, errWrongUser})
	}
	return name, nil
}
