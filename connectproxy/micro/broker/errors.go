package broker

import (
	"errors"
	"fmt"
	"net/http"
)

// The errors of events that are not taken; use errors.Is.
var (
	ErrNoTopic    = errors.New("no topic is named: give ?topic=")
	ErrName       = fmt.Errorf("the names of topics and queues may have up to %d letters, digits and signs, and no spaces", MaxName)
	ErrNotAllowed = errors.New("micro does not allow this topic: add it to topics")
	ErrLong       = fmt.Errorf("an event may have %d bytes, and %d in its header", MaxBody, MaxHeader)
	ErrUnread     = errors.New("the event did not arrive completely")
	ErrFull       = fmt.Errorf("%d bytes of events are waiting for their subscribers, which is the limit: publish more slowly", MaxMemory)
	ErrLost       = errors.New("the event is lost: no subscriber takes events as fast as they come, publish more slowly")
	ErrMany       = fmt.Errorf("%d applications have subscribed, which is the limit", MaxSubscribers)
	ErrClosed     = errors.New("the proxy is about to end")
	// ErrUnknown says that it is not known who subscribes. It is wrapped around why.
	ErrUnknown = errors.New("asking the agent who subscribes")
)

// StatusOf is the HTTP status for an error of this package.
func StatusOf(err error) int {
	switch {
	case errors.Is(err, ErrNoTopic), errors.Is(err, ErrName), errors.Is(err, ErrUnread):
		return http.StatusBadRequest
	case errors.Is(err, ErrNotAllowed):
		return http.StatusForbidden
	case errors.Is(err, ErrLong):
		return http.StatusRequestEntityTooLarge
	}
	return http.StatusServiceUnavailable
}
