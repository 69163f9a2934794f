package edge

import (
	"crypto/tls"
	"sync/atomic"
	"time"

	"connect-proxy/listener/secure"
)

// farewellTime is how long a client is waited for that takes nothing and is to be told
// of the end (close_notify).
const farewellTime = 10 * time.Millisecond

// restTime is how long the kernel keeps what a client at rest does not take of its last
// answer after its connection has been ended in favour of another. It counts from when
// the client has last had room for a whole segment, which for one that takes 2 kB a
// second may be half a minute ago.
const restTime = 2 * time.Minute

// conn is a client's secured connection.
type conn struct {
	*tls.Conn
	reading atomic.Bool
	broken  atomic.Bool   // an answer was not taken in time, or not at all
	rest    time.Duration // restTime
}

// Read is net.Conn's. One goroutine reads at a time.
func (c *conn) Read(b []byte) (int, error) {
	c.reading.Store(true)
	defer c.reading.Store(false)
	return c.Conn.Read(b)
}

// Write is net.Conn's.
func (c *conn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	if err != nil {
		c.broken.Store(true)
	}
	return n, err
}

// Close tells the client of the end. For one that takes nothing crypto/tls waits five
// seconds, which whoever has answered it can spare. Whoever closes while another
// goroutine reads ends a connection from outside, and may have many to end, one after
// the other: what was sent before is still for the client then, but no more is, and
// the kernel does not keep it for as long as for others. What is left of half an
// answer is not kept.
func (c *conn) Close() error {
	if c.broken.Load() {
		return c.Abort()
	}
	if c.reading.Load() {
		boundRest(c.NetConn(), c.rest)
		defer time.AfterFunc(farewellTime, func() { _ = c.NetConn().Close() }).Stop()
	}
	return c.Conn.Close()
}

// Abort ends the connection at once, with a TCP reset and without a close_notify, so
// that the client cannot take it for an orderly end.
func (c *conn) Abort() error {
	secure.Abort(c.NetConn())
	return nil
}
