package listener

import "errors"

// Denied is what an AuthorizeFunc returns for a peer that may not pass; any
// other error means that it could not be told, which refuses the connection
// all the same.
type Denied struct {
	// Reason is one line for the operator: the intention or policy that
	// decided.
	Reason string
}

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
	return &reasonError{reason: r, err: err}
}

type reasonError struct {
	reason Reason
	err    error
}

func (e *reasonError) Error() string { return e.err.Error() }
func (e *reasonError) Unwrap() error { return e.err }

var (
	errEndedAtOnce = errors.New("the instance ended the connection at once, without a byte: its application may be down")
	errConnections = errors.New("as many connections as allowed are open")
	errEvicted     = errors.New("handshake was unfinished when a newer client needed its place")
	errDecisions   = errors.New("as many clients as allowed wait for their authorization, most of them under this identity")
	errEnding      = errors.New("listener is being shut down")
	errSilent      = errors.New("closed before the handshake began")
	errNoPeer      = errors.New("client has no identity")
	errNoAuthorize = errors.New("listener has a handshake and no authorization")
	errNoDial      = errors.New("listener has nowhere to dial")
	errNoListener  = errors.New("listener has no socket")
	errInUse       = errors.New("another process listens there")
	errNoSocket    = errors.New("a file is in the way that is no socket; remove it or choose another path")
	errRunTwice    = errors.New("listener ran before")
)
