package upstream

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

var (
	// ErrNoEndpoints is Dial's when there is no instance to try: none is
	// healthy, none is known yet, or what is known is older than MaxStale.
	ErrNoEndpoints = errors.New("no instance to connect to")
	// ErrLimit is Dial's when MaxConnections are open.
	ErrLimit = errors.New("connection limit reached")
	// ErrIdentity marks a DialFunc's error: the instance proved another
	// identity than the one asked for, or none.
	ErrIdentity = errors.New("wrong identity")
	// ErrClock marks a DialFunc's error: the instance's certificate or ours has
	// expired or is not valid yet by one of the two clocks.
	ErrClock = errors.New("clocks and certificates disagree")
	// ErrDenied marks a DialFunc's error: the instance refused our identity.
	ErrDenied = errors.New("denied by the instance")
	// ErrUnavailable marks an error of Conn.Next: the instance's proxy works and
	// its application, or its decision on us, cannot be had.
	ErrUnavailable = errors.New("the instance cannot serve")
)

var (
	errNoConn = errors.New("the dial has returned neither a connection nor an error")
	// errNoFiles is no fault of the instance that was dialled.
	errNoFiles = errors.New("this proxy or its machine can open no more files: raise its limit (LimitNOFILE of systemd, ulimit -n)")
)

// Attempt is one instance that was tried in vain.
type Attempt struct {
	// Instance is the Endpoint's ID.
	Instance string
	// Address is what was dialled, host:port.
	Address string
	// Err is why it failed; it is never nil.
	Err error
	// Duration is from the choice of the instance to the failure.
	Duration time.Duration
}

// Reason names what went wrong in a word.
func (a Attempt) Reason() Reason { return reasonOf(a.Err) }

// shownAttempts bounds the length of a DialError's line.
const shownAttempts = 4

// DialError is Dial's when every instance tried failed. Its errors are those of
// the attempts, so errors.Is(err, ErrIdentity) holds if one of them was that.
type DialError struct {
	// Upstream is the name of Options.
	Upstream string
	// Attempts are those that failed, in their order; empty where the time was
	// over before the first. One that the caller gave up is not among them.
	Attempts []Attempt
	// Untried counts the instances that were left out, since only so many are tried
	// for one connection or since time was over.
	Untried int
	// Cause is the context's error where time or the caller's patience ended
	// the search, and nil where all instances had been tried that there were to be.
	Cause error
}

// Error is one line, with the first few attempts.
func (e *DialError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "dialling %s: ", e.Upstream)
	for i, a := range e.Attempts {
		if i > 0 {
			b.WriteString("; ")
		}
		if i == shownAttempts && len(e.Attempts) > shownAttempts+1 {
			fmt.Fprintf(&b, "and %d instances more", len(e.Attempts)-i)
			break
		}
		fmt.Fprintf(&b, "%s (%s) %s: %v", a.Instance, a.Address, a.Reason(), a.Err)
	}
	if e.Untried > 0 && len(e.Attempts) > 0 {
		fmt.Fprintf(&b, "; %d were not tried", e.Untried)
	}
	if e.Cause != nil {
		if len(e.Attempts) > 0 {
			b.WriteString("; ")
		}
		if errors.Is(e.Cause, context.Canceled) {
			b.WriteString("given up by the caller: ")
		}
		b.WriteString(e.Cause.Error())
	}
	return b.String()
}

// Unwrap gives every attempt's error and the cause.
func (e *DialError) Unwrap() []error {
	errs := make([]error, 0, len(e.Attempts)+1)
	for _, a := range e.Attempts {
		errs = append(errs, a.Err)
	}
	if e.Cause != nil {
		errs = append(errs, e.Cause)
	}
	return errs
}
