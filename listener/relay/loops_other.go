//go:build !linux

package relay

import "net"

// loops are Linux's; everything else copies with goroutines.
type loops struct{}

type loop struct{}

func (*loops) pick(*Engine) *loop { return nil }

func (*loops) close() {}

func (*loop) start(net.Conn, net.Conn, Options, func(Result)) (*Relay, bool) { return nil, false }
