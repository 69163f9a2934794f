//go:build !linux

package relay

import "net"

// loops are Linux's; everything else copies with goroutines.
type loops struct{}

type eventLoop struct{}

func (*loops) pick(*Engine) *eventLoop { return nil }

func (*loops) close() {}

func (*eventLoop) start(net.Conn, net.Conn, Options, func(Result)) (*Relay, bool) { return nil, false }
