package byname

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"

	"connect-proxy/config"
	"connect-proxy/listener"
)

// What RFC 1928 and RFC 1929 call things.
const (
	socksVersion = 5

	methodNone     = 0
	methodPassword = 2
	methodNoneFits = 0xff

	passwordVersion = 1
	passwordWrong   = 1

	commandConnect = 1

	addressIPv4 = 1
	addressName = 3
	addressIPv6 = 4

	replySucceeded          = 0
	replyFailure            = 1
	replyNotAllowed         = 2
	replyHostUnreachable    = 4
	replyRefused            = 5
	replyExpired            = 6
	replyCommandUnsupported = 7
	replyAddressUnsupported = 8
)

// socksCode is what SOCKS5 has for a reason.
func socksCode(r listener.Reason) byte {
	switch r {
	case listener.ReasonDenied, listener.ReasonUpstreamDenied:
		return replyNotAllowed
	case listener.ReasonNoEndpoints:
		return replyHostUnreachable
	case listener.ReasonDialFailed, listener.ReasonUpstreamUnavailable:
		return replyRefused
	case listener.ReasonDialTimeout:
		return replyExpired
	}
	return replyFailure
}

// socksReply is the answer to a request. The address in it means nothing: the far
// side is no socket of this machine.
func socksReply(code byte) []byte {
	return []byte{socksVersion, code, 0, addressIPv4, 0, 0, 0, 0, 0, 0}
}

// socks reads what a client of SOCKS5 asks for.
func (s *Server) socks(raw net.Conn, in *bufio.Reader) (r listener.Request, err error) {
	r.User, err = s.access.Load().negotiateMethod(raw, in)
	if err != nil {
		return r, err
	}
	name, code, err := socksRequest(in)
	var d config.Destination
	if err == nil {
		// By the list of this moment: the client may have waited since its greeting.
		d, err = s.access.Load().destination(name, r.User, s.o.Destination)
		if code = replyHostUnreachable; errors.As(err, new(*notAllowed)) {
			code = replyNotAllowed
		}
	}
	if d.Name != "" {
		r.Destination = d
	}
	if err != nil {
		if code != replySucceeded {
			_, _ = raw.Write(socksReply(code))
			awaitClientEnd(raw)
		}
		return r, refusal(err)
	}
	r.Granted = func(context.Context, listener.Instance) error {
		_, err := raw.Write(socksReply(replySucceeded))
		return err
	}
	r.Refused = func(why listener.Reason, _ error) { reply(raw, socksReply(socksCode(why))) }
	return s.relayed(r, in), nil
}

// negotiateMethod agrees with the client on how it says who it is, and hears it: empty for
// one that does not say.
func (a *access) negotiateMethod(raw net.Conn, in *bufio.Reader) (name string, err error) {
	var head [2]byte
	if _, err := io.ReadFull(in, head[:]); err != nil {
		return "", fmt.Errorf("reading a SOCKS5 greeting: %w", cutShort(err))
	}
	methods := make([]byte, head[1])
	if _, err := io.ReadFull(in, methods); err != nil {
		return "", fmt.Errorf("reading a SOCKS5 greeting: %w", cutShort(err))
	}
	method := byte(methodNoneFits)
	for _, m := range methods {
		if m == methodPassword || m == methodNone && method == methodNoneFits {
			method = m
		}
	}
	if _, err := raw.Write([]byte{socksVersion, method}); err != nil {
		return "", err
	}
	switch method {
	case methodNone:
		return "", nil
	case methodNoneFits:
		return "", errors.New("the SOCKS5 client offers neither to go without authentication nor a user name and password")
	}
	name, password, err := readPassword(in)
	if err != nil {
		return "", err
	}
	name = printable(name)
	if !a.admits(name, password) {
		_, _ = raw.Write([]byte{passwordVersion, passwordWrong})
		awaitClientEnd(raw)
		return name, listener.WithReason(listener.ReasonDenied, errWrongUser)
	}
	_, err = raw.Write([]byte{passwordVersion, 0})
	return name, err
}

var errWrongUser = errors.New("by_name has no user with this name and password: see users")

// readPassword reads a user name and a password (RFC 1929).
func readPassword(in *bufio.Reader) (name, password string, err error) {
	version, err := in.ReadByte()
	if err == nil && version != passwordVersion {
		return "", "", fmt.Errorf("unknown version %d of SOCKS5 user names", version)
	}
	if err == nil {
		name, err = readText(in)
	}
	if err == nil {
		password, err = readText(in)
	}
	if err != nil {
		return "", "", fmt.Errorf("reading a SOCKS5 user name: %w", cutShort(err))
	}
	return name, password, nil
}

// socksRequest reads the request itself. Besides an error it returns the code to
// answer with, zero where there is nobody to answer.
func socksRequest(in *bufio.Reader) (name string, code byte, err error) {
	var head [4]byte
	if _, err := io.ReadFull(in, head[:]); err != nil {
		return "", 0, fmt.Errorf("reading a SOCKS5 request: %w", cutShort(err))
	}
	switch version, command, kind := head[0], head[1], head[3]; {
	case version != socksVersion:
		return "", replyFailure, fmt.Errorf("version %d in a SOCKS5 request", version)
	case command != commandConnect:
		return "", replyCommandUnsupported, fmt.Errorf("SOCKS5 command %d: only CONNECT is supported", command)
	case kind == addressIPv4 || kind == addressIPv6:
		return "", replyAddressUnsupported, fmt.Errorf("%w: the client has looked up an address itself; have it leave that to the proxy, as socks5h:// and curl's --socks5-hostname do", errNoName)
	case kind != addressName:
		return "", replyAddressUnsupported, fmt.Errorf("unknown SOCKS5 address type %d", kind)
	}
	if name, err = readText(in); err == nil {
		_, err = in.Discard(2) // the port, which says nothing about a service of the mesh
	}
	if err != nil {
		return "", 0, fmt.Errorf("reading a SOCKS5 request: %w", cutShort(err))
	}
	return name, 0, nil
}

// readText reads a text with its length, one byte, before it.
func readText(in *bufio.Reader) (string, error) {
	n, err := in.ReadByte()
	if err != nil {
		return "", err
	}
	b := make([]byte, n)
	_, err = io.ReadFull(in, b)
	return string(b), err
}

// cutShort is an end in the middle of something.
func cutShort(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
