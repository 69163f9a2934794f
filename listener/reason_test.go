package listener

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
)

func TestEveryErrorHasOneReasonOnEachRung(t *testing.T) {
	read := func(err error) error {
		return &net.OpError{Op: "read", Net: "tcp", Err: os.NewSyscallError("read", err)}
	}
	tests := map[string]struct {
		at   stage
		err  error
		want Reason
	}{
		"handshake, deadline":          {stageHandshake, &net.OpError{Op: "read", Err: os.ErrDeadlineExceeded}, ReasonHandshakeTimeout},
		"handshake, context":           {stageHandshake, fmt.Errorf("x: %w", context.DeadlineExceeded), ReasonHandshakeTimeout},
		"handshake, reset":             {stageHandshake, read(syscall.ECONNRESET), ReasonHandshakeFailed},
		"handshake, EOF":               {stageHandshake, io.EOF, ReasonHandshakeFailed},
		"authorize, denied":            {stageAuthorize, fmt.Errorf("x: %w", &Denied{Reason: "no"}), ReasonDenied},
		"authorize, other":             {stageAuthorize, errors.New("500"), ReasonAuthorizationUnknown},
		"authorize, deadline":          {stageAuthorize, context.DeadlineExceeded, ReasonAuthorizationUnknown},
		"dial, refused":                {stageDial, read(syscall.ECONNREFUSED), ReasonDialFailed},
		"dial, deadline":               {stageDial, context.DeadlineExceeded, ReasonDialTimeout},
		"dial, given up":               {stageDial, fmt.Errorf("x: %w", context.Canceled), ReasonClientReset},
		"dial, the kernel's timeout":   {stageDial, read(syscall.ETIMEDOUT), ReasonDialTimeout},
		"dial, named":                  {stageDial, fmt.Errorf("x: %w", WithReason(ReasonUpstreamDenied, io.EOF)), ReasonUpstreamDenied},
		"client, nothing":              {stageClient, nil, ReasonClosed},
		"client, EOF":                  {stageClient, io.EOF, ReasonClosed},
		"upstream, EOF":                {stageUpstream, io.EOF, ReasonClosed},
		"client, reset":                {stageClient, read(syscall.ECONNRESET), ReasonClientReset},
		"upstream, reset":              {stageUpstream, read(syscall.ECONNRESET), ReasonUpstreamReset},
		"upstream, broken pipe":        {stageUpstream, read(syscall.EPIPE), ReasonUpstreamReset},
		"client, FIN without an alert": {stageClient, io.ErrUnexpectedEOF, ReasonClientReset},
		"client, keep-alive":           {stageClient, read(syscall.ETIMEDOUT), ReasonClientLost},
		"upstream, unreachable":        {stageUpstream, read(syscall.EHOSTUNREACH), ReasonUpstreamLost},
		"client, idle":                 {stageClient, os.ErrDeadlineExceeded, ReasonIdleTimeout},
		"client, other":                {stageClient, errors.New("bad record MAC"), ReasonClientError},
		"upstream, other":              {stageUpstream, errors.New("bad record MAC"), ReasonUpstreamError},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if got := reasonOf(tc.at, tc.err); got != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
		})
	}
	if WithReason(ReasonLimit, nil) != nil {
		t.Error("no error became one")
	}
}

func TestEveryReasonHasANameOfItsOwn(t *testing.T) {
	seen := map[string]bool{"unknown": true}
	for _, r := range Reasons() {
		name := r.String()
		if name == "" || seen[name] || name != strings.ToLower(name) || strings.ContainsAny(name, " -") {
			t.Errorf("reason %d is called %q", r, name)
		}
		seen[name] = true
	}
	if got := Reason(200).String(); got != "unknown" {
		t.Errorf("a reason out of range is called %q", got)
	}
}
