package dynamic

import (
	"errors"
	"fmt"

	"connect-proxy/config"
	"connect-proxy/listener"
)

// The errors of Upstreams.Target besides those of dialling. They are wrapped, with
// the destination's name in front: use errors.Is.
var (
	// ErrFull says that MaxUpstreams destinations have connections. Its reason is
	// listener.ReasonLimit.
	ErrFull = fmt.Errorf("%d destinations have open connections, which is the limit", MaxUpstreams)
	// ErrUnknown says that the agent shows no instance by that name, now or
	// RememberAbsent ago at most. Its reason is listener.ReasonNoEndpoints.
	ErrUnknown = errors.New("there is no such service: the agent shows no healthy instance with a Connect proxy, or hides it from the token (service:read, node:read)")
	// ErrUnanswered says that the agent did not answer within FirstAnswer. Its
	// reason is listener.ReasonNoEndpoints.
	ErrUnanswered = errors.New("the agent did not say in time whether there is such a service")
	// ErrTooManyNames says that names which nobody has were asked for too often of
	// late. Its reason is listener.ReasonLimit.
	ErrTooManyNames = errors.New("too many unknown names were asked for recently: try again in a moment")
	// ErrClosed says that no destination is opened any more, after Close, or that
	// a Dialer's listener ended the connection before it was dialled. It has no
	// reason.
	ErrClosed = errors.New("the proxy is about to end")
)

// reasoned names d, and gives err its Reason.
func reasoned(d config.Destination, err error) error {
	named := fmt.Errorf("dialling %s: %w", d, err)
	switch {
	case errors.Is(err, ErrUnknown), errors.Is(err, ErrUnanswered):
		return listener.WithReason(listener.ReasonNoEndpoints, named)
	case errors.Is(err, ErrFull), errors.Is(err, ErrTooManyNames):
		return listener.WithReason(listener.ReasonLimit, named)
	}
	return named
}
