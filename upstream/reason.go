package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"syscall"
)

// Reason is why an attempt on an instance failed, for logs and metrics.
type Reason uint8

// The reasons, a closed set. The first, zero, is for what fits no other.
const (
	// ReasonOther is any failure without a reason of its own.
	ReasonOther Reason = iota
	// ReasonRefused is a port that nobody listens on.
	ReasonRefused
	// ReasonTimeout is no answer in the time of the attempt.
	ReasonTimeout
	// ReasonReset is a connection that the other side broke off.
	ReasonReset
	// ReasonUnreachable is a network or a host without a way to it.
	ReasonUnreachable
	// ReasonName is an address whose name cannot be resolved.
	ReasonName
	// ReasonTLS is a handshake that failed otherwise.
	ReasonTLS
	// ReasonIdentity is ErrIdentity.
	ReasonIdentity
	// ReasonDenied is ErrDenied.
	ReasonDenied
	// ReasonClock is ErrClock.
	ReasonClock
	// ReasonUnavailable is ErrUnavailable.
	ReasonUnavailable

	reasons // how many there are
)

var reasonNames = [reasons]string{
	"error", "refused", "timeout", "reset", "unreachable", "name", "tls", "identity", "denied", "clock", "unavailable",
}

// String is the snake_case name.
func (r Reason) String() string {
	if r < reasons {
		return reasonNames[r]
	}
	return reasonNames[ReasonOther]
}

// counts are numbers by reason.
type counts [reasons]atomic.Uint64

// byName leaves out what never happened.
func (c *counts) byName() map[string]uint64 {
	all := make(map[string]uint64)
	for r := range c {
		if n := c[r].Load(); n > 0 {
			all[Reason(r).String()] = n
		}
	}
	return all
}

// reasonOf sorts an attempt's error. What an instance proved comes first: it
// must never be taken for a network that failed.
func reasonOf(err error) Reason {
	var (
		dns         *net.DNSError
		alert       tls.AlertError
		certificate *tls.CertificateVerificationError
		record      tls.RecordHeaderError
	)
	switch {
	case errors.Is(err, ErrIdentity):
		return ReasonIdentity
	case errors.Is(err, ErrClock):
		return ReasonClock
	case errors.Is(err, ErrDenied):
		return ReasonDenied
	case errors.Is(err, ErrUnavailable):
		return ReasonUnavailable
	case errors.As(err, &alert), errors.As(err, &certificate), errors.As(err, &record):
		return ReasonTLS
	case errors.As(err, &dns):
		return ReasonName
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, syscall.ETIMEDOUT):
		return ReasonTimeout
	case errors.Is(err, syscall.ECONNREFUSED):
		return ReasonRefused
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return ReasonReset
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return ReasonUnreachable
	}
	return ReasonOther
}
