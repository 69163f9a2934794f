package listener

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
)

// Reason is why a connection ended. It is a closed set: the log, the metrics
// and the tests name the same things.
type Reason uint8

const (
	// ReasonUnknown is the zero value. No Summary carries it.
	ReasonUnknown Reason = iota
	// ReasonClosed is an orderly end: both directions were closed and all that
	// was read has been written.
	ReasonClosed
	// ReasonClientReset is an abortive close by the client, or a program that gave up
	// its dial.
	ReasonClientReset
	// ReasonUpstreamReset is an abortive close by the far side.
	ReasonUpstreamReset
	// ReasonClientLost is a client that stopped acknowledging: its host died or
	// its packets are dropped.
	ReasonClientLost
	// ReasonUpstreamLost is a far side that stopped acknowledging.
	ReasonUpstreamLost
	// ReasonClientError is any other failure to read from or write to the
	// client, such as a TLS record that does not open.
	ReasonClientError
	// ReasonUpstreamError is any other failure of the far side.
	ReasonUpstreamError
	// ReasonIdleTimeout is Options.IdleTimeout.
	ReasonIdleTimeout
	// ReasonMaxLifetime is Options.MaxLifetime.
	ReasonMaxLifetime
	// ReasonHalfCloseTimeout is Options.HalfCloseTimeout.
	ReasonHalfCloseTimeout
	// ReasonSilent is a client that closed before the first byte of its
	// handshake, as a TCP health check does.
	ReasonSilent
	// ReasonHandshakeFailed is a client that did not prove an identity.
	ReasonHandshakeFailed
	// ReasonHandshakeTimeout is a client that did not do so in time.
	ReasonHandshakeTimeout
	// ReasonHandshakeEvicted is a client that had not done so when a newer one
	// needed its place.
	ReasonHandshakeEvicted
	// ReasonDenied is a client that was recognized and may not pass.
	ReasonDenied
	// ReasonAuthorizationUnknown is a client that was recognized while nobody
	// could say whether it may pass.
	ReasonAuthorizationUnknown
	// ReasonDialFailed is a far side that did not accept.
	ReasonDialFailed
	// ReasonDialTimeout is a far side that did not do so in time.
	ReasonDialTimeout
	// ReasonNoEndpoints is a destination without an instance.
	ReasonNoEndpoints
	// ReasonUpstreamDenied is a far side that refused our identity.
	ReasonUpstreamDenied
	// ReasonUpstreamUnavailable is a far side whose proxy refused the connection
	// since its application, or a decision on us, cannot be had.
	ReasonUpstreamUnavailable
	// ReasonUpstreamIdentity is a far side that did not prove the identity that
	// it must have.
	ReasonUpstreamIdentity
	// ReasonUpstreamClock is a far side whose certificate, or ours, is not valid
	// by one of the two clocks.
	ReasonUpstreamClock
	// ReasonLimit is a connection over MaxConnections or MaxAuthorizations, or
	// over a limit of the far side.
	ReasonLimit
	// ReasonIntentionRevoked is an open connection whose peer is no longer
	// allowed.
	ReasonIntentionRevoked
	// ReasonDestinationChanged is an open connection that was reset since the
	// instances of its destination have changed.
	ReasonDestinationChanged
	// ReasonDrain is a connection that was still open when the drain's time was
	// up.
	ReasonDrain
	// ReasonShutdown is a connection that was cut without a drain.
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
	ReasonHandshakeEvicted:     "handshake_evicted",
	ReasonDenied:               "denied",
	ReasonAuthorizationUnknown: "authorization_unknown",
	ReasonDialFailed:           "dial_failed",
	ReasonDialTimeout:          "dial_timeout",
	ReasonNoEndpoints:          "no_endpoints",
	ReasonUpstreamDenied:       "upstream_denied",
	ReasonUpstreamUnavailable:  "upstream_unavailable",
	ReasonUpstreamIdentity:     "upstream_identity",
	ReasonUpstreamClock:        "upstream_clock",
	ReasonLimit:                "limit",
	ReasonIntentionRevoked:     "intention_revoked",
	ReasonDestinationChanged:   "destination_changed",
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

// stage is the step at which an error came up; the same ECONNRESET means
// something else at each.
type stage uint8

const (
	stageHandshake stage = iota
	stageAuthorize
	stageDial
	stageClient   // relaying: reading from or writing to the client
	stageUpstream // relaying: reading from or writing to the far side
)

// failedAt is why a connection ends that got an error at a stage.
func failedAt(at stage, err error) *connError { return &connError{reasonOf(at, err), err} }

// reasonOf is the one place where an error becomes a Reason. A reason that the
// error carries itself (WithReason) wins over what the stage implies; a nil
// error and an io.EOF while relaying are an orderly end.
func reasonOf(at stage, err error) Reason {
	var named *connError
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
		if errors.Is(err, context.Canceled) {
			return ReasonClientReset // nobody waits for the far side any more
		}
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
