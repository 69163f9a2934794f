//go:build !linux

package edge

import (
	"net"
	"time"
)

// boundRest leaves it to the system how long it keeps what a client has not taken.
func boundRest(net.Conn, time.Duration) {}
