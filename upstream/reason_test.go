package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestErrorsHaveTheirReason(t *testing.T) {
	for _, c := range []struct {
		name string
		err  error
		want Reason
	}{
		{"a wrong identity", fmt.Errorf("%w: want a, got b", ErrIdentity), ReasonIdentity},
		{"a certificate out of its time", fmt.Errorf("%w: not valid before tomorrow", ErrClock), ReasonClock},
		{"a wrong identity goes before a timeout", fmt.Errorf("%w: %w", ErrIdentity, context.DeadlineExceeded), ReasonIdentity},
		{"a denial", fmt.Errorf("%w: %w", ErrDenied, tls.AlertError(42)), ReasonDenied},
		{"an alert", fmt.Errorf("TLS handshake: %w", tls.AlertError(40)), ReasonTLS},
		{"no TLS at the other end", tls.RecordHeaderError{Msg: "first record does not look like a TLS handshake"}, ReasonTLS},
		{"a name that does not resolve", &net.OpError{Op: "dial", Err: &net.DNSError{Name: "db.internal.example", IsNotFound: true}}, ReasonName},
		{"time that ran out", fmt.Errorf("dial tcp: %w", context.DeadlineExceeded), ReasonTimeout},
		{"an end in the handshake", fmt.Errorf("TLS handshake: %w", io.EOF), ReasonReset},
		{"anything else", errors.New("boom"), ReasonOther},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := reasonOf(c.err); got != c.want {
				t.Errorf("reason %s, want %s", got, c.want)
			}
		})
	}
	if got := Reason(200).String(); got != "error" {
		t.Errorf("an unknown reason is called %q", got)
	}
}

// On real sockets: behaviour 15 once more, with the kernel's own errors.
func TestRealSocketsThatRefuseOrSayNothing(t *testing.T) {
	good := listen(t, func(c net.Conn) { c.Write([]byte("hello")); c.Close() })
	silent := listen(t, func(c net.Conn) { io.Copy(io.Discard, c); c.Close() })
	closed := listen(t, nil)
	dialer := net.Dialer{}
	greeting := func(ctx context.Context, ep Endpoint) (net.Conn, error) {
		c, err := dialer.DialContext(ctx, "tcp", ep.Address)
		if err != nil {
			return nil, err
		}
		stop := context.AfterFunc(ctx, func() { c.SetReadDeadline(time.Unix(1, 0)) })
		defer stop()
		if _, err := io.ReadFull(c, make([]byte, 5)); err != nil {
			c.Close()
			return nil, err
		}
		return c, nil
	}
	r := newFakeResolver()
	r.give(Set{Ordered: true, Endpoints: []Endpoint{{ID: "closed", Address: closed}, {ID: "silent", Address: silent}, {ID: "good", Address: good}}})
	u := start(t, Options{Resolver: r, Dial: greeting, ConnectTimeout: 1500 * time.Millisecond, SetAside: time.Minute})
	for range 20 {
		c := dial(t, u)
		if c.Endpoint.ID != "good" {
			t.Errorf("connected to %s", c.Endpoint.ID)
		}
		c.Close()
		c.Release()
	}
	want := map[string]uint64{"refused": 1, "timeout": 1}
	if runtime.GOOS == "windows" {
		want = map[string]uint64{"error": 1, "timeout": 1}
	}
	if diff := cmp.Diff(want, u.Status().Failures); diff != "" {
		t.Errorf("failures by reason (-want +got):\n%s", diff)
	}
}

// listen serves each connection on a loopback port until the test ends; without
// serve the port is closed at once.
func listen(t *testing.T, serve func(net.Conn)) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if serve == nil {
		ln.Close()
		return ln.Addr().String()
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			serve(c)
		}
	}()
	t.Cleanup(func() { ln.Close(); <-done })
	return ln.Addr().String()
}
