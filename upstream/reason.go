package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
)

// Reason is why an attempt on an instance failed, for logs and metrics.
type Reason uint8

// The reasons, a closed set. The first, zero, is for what fits no other.
const (
	ReasonOther Reason = iota
	ReasonRefused
	ReasonTimeout
	ReasonReset
	ReasonUnreachable
	ReasonName
	ReasonTLS
	ReasonIdentity
	ReasonDenied
	ReasonClock
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
