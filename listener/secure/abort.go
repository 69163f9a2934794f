package secure

import "net"

// Abort ends a connection, which may be a *Conn, so that the other side cannot
// take it for an orderly end: what came before may be cut short. It does not
// block on the other side, and the kernel keeps no state of a connection that is
// reset.
func Abort(c net.Conn) {
	switch c := c.(type) {
	case interface{ Abort() error }:
		_ = c.Abort()
	case *net.TCPConn:
		_ = c.SetLinger(0)
		_ = c.Close()
	default:
		_ = c.Close()
	}
}
