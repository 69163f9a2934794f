package listener

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
)

// Reason says why a connection ended. It is a closed set: the log, the metrics
// and the tests name the same things.
type Reason uint8

const (
	// ReasonUnknown is the zero value. No Summary carries it.
	ReasonUnknown Reason = iota
	// ReasonClosed is an orderly end: both directions were closed and all that
	// was read has been written.
	ReasonClosed
	// ReasonClientReset and ReasonUpstreamReset are an abortive close by that
	// side.
	ReasonClientReset
	ReasonUpstreamReset
	// ReasonClientLost and ReasonUpstreamLost are a side that stopped
	// acknowledging: its host died or its packets are dropped.
	ReasonClientLost
	ReasonUpstreamLost
	// ReasonClientError and ReasonUpstreamError are any other failure to read
	// from or write to that side, such as a TLS record that does not open.
	ReasonClientError
	ReasonUpstreamError
	// ReasonIdleTimeout, ReasonMaxLifetime and ReasonHalfCloseTimeout are the
	// limits of Options by these names.
	ReasonIdleTimeout
	ReasonMaxLifetime
	ReasonHalfCloseTimeout
	// ReasonSilent is a client that closed before the first byte of its
	// handshake, as a TCP health check does.
	ReasonSilent
	// ReasonHandshakeFailed and ReasonHandshakeTimeout are a client whose
	// identity was not established.
	ReasonHandshakeFailed
	ReasonHandshakeTimeout
	// ReasonDenied is a client that was recognized and may not pass.
	ReasonDenied
	// ReasonAuthorizationUnknown is a client that was recognized while nobody
	// could say whether it may pass.
	ReasonAuthorizationUnknown
	// ReasonDialFailed and ReasonDialTimeout are a far side that did not
	// accept.
	ReasonDialFailed
	ReasonDialTimeout
	// ReasonNoEndpoints is a destination without an instance.
	ReasonNoEndpoints
	// ReasonUpstreamDenied is a far side that refused our identity, and
	// ReasonUpstreamIdentity one that did not prove the one it must have.
	ReasonUpstreamDenied
	ReasonUpstreamIdentity
	// ReasonLimit is a connection over MaxConnections or MaxHandshakes, or over
	// a limit of the far side.
	ReasonLimit
	// ReasonIntentionRevoked is an open connection whose peer is no longer
	// allowed.
	ReasonIntentionRevoked
	// ReasonDrain is a connection that was still open when the drain's time was
	// up, ReasonShutdown one that was cut without a drain.
	ReasonDrain
	ReasonShutdown

	reasonCount
)

var reasonNames = [reasonCount]string{
	ReasonUnknown:              "unknown",
	ReasonClosed:               "closed",
	ReasonClientReset:          "client_reset",
	ReasonUpstreamReset:        "upstream_reset",
	ReasonClientLost:           "client_lost",
	ReasonUpstreamLost:         "upstream_lost",
	ReasonClientError:          "client_error",
	ReasonUpstreamError:        "upstream_error",
	ReasonIdleTimeout:          "idle_timeout",
	ReasonMaxLifetime:          "max_lifetime",
	ReasonHalfCloseTimeout:     "half_close_timeout",
	ReasonSilent:               "silent",
	ReasonHandshakeFailed:      "handshake_failed",
	ReasonHandshakeTimeout:     "handshake_timeout",
	ReasonDenied:               "denied",
	ReasonAuthorizationUnknown: "authorization_unknown",
	ReasonDialFailed:           "dial_failed",
	ReasonDialTimeout:          "dial_timeout",
	ReasonNoEndpoints:          "no_endpoints",
	ReasonUpstreamDenied:       "upstream_denied",
	ReasonUpstreamIdentity:     "upstream_identity",
	ReasonLimit:                "limit",
	ReasonIntentionRevoked:     "intention_revoked",
	ReasonDrain:                "drain",
	ReasonShutdown:             "shutdown",
}

// String gives the reason's name in snake_case, as logs and metrics show it.
func (r Reason) String() string {
	if r >= reasonCount {
		r = ReasonUnknown
	}
	return reasonNames[r]
}

// Reasons lists every reason that a Summary can carry, for those who declare
// one counter each.
func Reasons() []Reason {
	all := make([]Reason, 0, reasonCount-1)
	for r := ReasonUnknown + 1; r < reasonCount; r++ {
		all = append(all, r)
	}
	return all
}

// stage is where on the ladder an error came up; the same ECONNRESET means
// something else on each rung.
type stage uint8

const (
	stageHandshake stage = iota
	stageAuthorize
	stageDial
	stageClient   // relaying: reading from or writing to the client
	stageUpstream // relaying: reading from or writing to the far side
)

// reasonOf is the one place where an error becomes a Reason. A reason that the
// error carries itself (WithReason) wins over what the rung would say; a nil
// error and an io.EOF while relaying are an orderly end.
func reasonOf(at stage, err error) Reason {
	var named *reasonError
	if errors.As(err, &named) {
		return named.reason
	}
	timeout := isTimeout(err)
	switch at {
	case stageHandshake:
		return either(timeout, ReasonHandshakeTimeout, ReasonHandshakeFailed)
	case stageAuthorize:
		var denied *Denied
		return either(errors.As(err, &denied), ReasonDenied, ReasonAuthorizationUnknown)
	case stageDial:
		return either(timeout, ReasonDialTimeout, ReasonDialFailed)
	}

	client := at == stageClient
	switch {
	case err == nil, errors.Is(err, io.EOF):
		return ReasonClosed
	case isLost(err): // before isTimeout, which counts ETIMEDOUT too
		return either(client, ReasonClientLost, ReasonUpstreamLost)
	case timeout:
		return ReasonIdleTimeout
	case isReset(err), errors.Is(err, io.ErrUnexpectedEOF):
		// A FIN without a close_notify is as abrupt as a reset: what came
		// before may be cut short.
		return either(client, ReasonClientReset, ReasonUpstreamReset)
	}
	return either(client, ReasonClientError, ReasonUpstreamError)
}

func either(cond bool, yes, no Reason) Reason {
	if cond {
		return yes
	}
	return no
}

// isTimeout reports whether a deadline, ours or the kernel's, ended something.
func isTimeout(err error) bool {
	if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) {
		return true
	}
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}
