package listener

import (
	"errors"
	"net"
)

// Denied is what an AuthorizeFunc returns for a peer that may not pass. Any
// other error means that nobody could say, which refuses the connection all the
// same.
type Denied struct {
	// Reason is one line for the operator: the intention or policy that
	// decided.
	Reason string
}

// Error returns "denied" with the reason.
func (e *Denied) Error() string {
	if e.Reason == "" {
		return "denied"
	}
	return "denied: " + e.Reason
}

// WithReason returns err carrying the Reason under which the connection is to
// be counted, for a DialFunc that knows better than "dial_failed". It returns
// nil for a nil err.
func WithReason(r Reason, err error) error {
	if err == nil {
		return nil
	}
	return &connError{reason: r, err: err}
}

// ReasonOf returns the Reason of an error that WithReason made, or
// ReasonDialFailed.
func ReasonOf(err error) Reason { return reasonOf(stageDial, err) }

// connError is why a connection ended.
type connError struct {
	reason Reason
	err    error // nil where the reason says everything
}

// Error returns what went wrong, for errors of WithReason.
func (e *connError) Error() string {
	if e.err == nil {
		return e.reason.String()
	}
	return e.err.Error()
}

func (e *connError) Unwrap() error { return e.err }

// The ends of connections that nothing else is known of.
var (
	errTooMany   = &connError{ReasonLimit, errors.New("as many connections as allowed are open")}
	errGaveWay   = &connError{ReasonLimit, errors.New("as many connections as allowed were open, and an address with fewer of them than this one needed a place")}
	errUndecided = &connError{ReasonLimit, errors.New("as many clients as allowed wait for their authorization, most of them under this identity")}
	errEvicted   = &connError{ReasonHandshakeEvicted, errors.New("handshake was unfinished when a newer client needed its place")}
	errSilent    = &connError{ReasonSilent, errors.New("closed before the handshake began")}
	errNoPeer    = &connError{ReasonHandshakeFailed, errors.New("client has no identity")}
	errNotOpen   = &connError{ReasonShutdown, net.ErrClosed}
)

var (
	errEndedAtOnce = errors.New("the instance ended the connection at once, without a byte: its application may be down")
	errNoAuthorize = errors.New("listener has a handshake and no authorization")
	errNoDial      = errors.New("listener has nowhere to dial")
	errNoConn      = errors.New("the dial has returned neither a connection nor an error")
	errTwoWays     = errors.New("listener has a request, and a handshake or a dial besides")
	errNoListener  = errors.New("listener has no socket")
	errInUse       = errors.New("another process listens there")
	errNoSocket    = errors.New("a file is in the way that is no socket; remove it or choose another path")
	errRunTwice    = errors.New("listener ran before")
)
