package micro

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"connect-proxy/config"
	"connect-proxy/listener"
)

// grpcKey is the key of the grpcTarget in the context of a dial.
type grpcKey struct{}

type grpcTarget struct {
	destination config.Destination
	socket      *grpcSocket
}

// grpcSocket is what is known of the socket of a connection.
type grpcSocket struct {
	answered   atomic.Bool // something has come
	turnedAway atomic.Pointer[diallingError]
	reading    atomic.Bool // somebody reads, or has read
	first      sync.Once
	heard      chan struct{} // closed when the first Read has returned
}

func newGRPCSocket() *grpcSocket { return &grpcSocket{heard: make(chan struct{})} }

// hearing is how long a write that fails waits for what the other side has said.
const hearing = time.Second

// grpcConn is a connection to a service. An error that says that the far proxy has
// turned it away is one of dialling: nothing was delivered.
type grpcConn struct {
	net.Conn
	*grpcSocket
}

// frameSettings is the type of the frame that a server of HTTP/2 begins with, which
// is the fourth byte (RFC 9113 3.4 and 4.1).
const frameSettings = 4

// errNotHTTP2 is of a connection to a service that takes no gRPC.
var errNotHTTP2 = errors.New("the service does not speak HTTP/2, which gRPC is carried by: is it a server of gRPC?")

// Read and Write are net.Conn's.
func (c *grpcConn) Read(b []byte) (int, error) {
	c.reading.Store(true)
	defer c.first.Do(func() { close(c.heard) })
	n, err := c.Conn.Read(b)
	if n > 0 && !c.answered.Swap(true) && n >= 4 && b[3] != frameSettings {
		away := &diallingError{errNotHTTP2}
		c.turnedAway.Store(away)
		return 0, away
	}
	return n, c.explain(err)
}

// Write returns why the other side has ended the connection where it gave a reason, which
// may be read only after a write has failed.
func (c *grpcConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	if err == nil {
		return n, nil
	}
	if !c.reading.Load() { // nor will anybody, since the connection begins with a write
		_ = c.SetReadDeadline(time.Now().Add(hearing))
		_, _ = c.Read(make([]byte, 64))
	}
	select {
	case <-c.heard:
	case <-time.After(hearing):
	}
	if away := c.turnedAway.Load(); away != nil {
		return n, away
	}
	return n, c.explain(err)
}

func (c *grpcConn) explain(err error) error {
	switch listener.ReasonOf(err) {
	case listener.ReasonUpstreamDenied, listener.ReasonUpstreamUnavailable:
		if err != nil && !c.answered.Load() {
			away := &diallingError{err}
			c.turnedAway.Store(away)
			return away
		}
	}
	return err
}
