//go:build !unix

package dynamic

import (
	"context"
	"fmt"
	"net"
)

// pair returns the two ends of a connection within this process, which are
// sockets so that the relay can serve one of them as it does any other.
func pair() (near, far net.Conn, err error) {
	var lc net.ListenConfig
	ln, err := lc.Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, fmt.Errorf("making a connection within the proxy: %w", err)
	}
	defer func() { _ = ln.Close() }()
	if near, err = net.Dial("tcp", ln.Addr().String()); err != nil {
		return nil, nil, fmt.Errorf("making a connection within the proxy: %w", err)
	}
	for {
		far, err = ln.Accept()
		switch {
		case err != nil:
			_ = near.Close()
			return nil, nil, fmt.Errorf("making a connection within the proxy: %w", err)
		case far.RemoteAddr().String() == near.LocalAddr().String():
			return near, far, nil
		}
		_ = far.Close() // somebody else's
	}
}

// hungUp reports whether the other end is closed rather than done with sending,
// as far as can be told.
func hungUp(net.Conn) bool { return true }
