package listenertest

import (
	"errors"
	"net"
	"syscall"
	"testing"
	"time"
)

// Dial connects, and closes the connection when the test ends. A listener may refuse
// a client before that has learnt that it is connected: of one that was reset while
// it was being made, Read and Write return the error.
func Dial(t testing.TB, network, address string) net.Conn {
	t.Helper()
	return dial(t, net.Dialer{}, network, address)
}

// DialFrom is Dial over TCP from an IP address of this machine.
func DialFrom(t testing.TB, from, address string) net.Conn {
	t.Helper()
	return dial(t, net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}, "tcp", address)
}

func dial(t testing.TB, d net.Dialer, network, address string) net.Conn {
	t.Helper()
	c, err := d.DialContext(t.Context(), network, address)
	switch {
	case errors.Is(err, syscall.ECONNRESET):
		return resetConn{err: err}
	case err != nil:
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// resetConn is a connection that has ended. What it does not have nobody asks for.
type resetConn struct {
	net.Conn
	err error
}

func (c resetConn) Read([]byte) (int, error)       { return 0, c.err }
func (c resetConn) Write([]byte) (int, error)      { return 0, c.err }
func (resetConn) Close() error                     { return nil }
func (resetConn) SetDeadline(time.Time) error      { return nil }
func (resetConn) SetReadDeadline(time.Time) error  { return nil }
func (resetConn) SetWriteDeadline(time.Time) error { return nil }
