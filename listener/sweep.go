package listener

import (
	"net"
	"syscall"
	"time"
)

const (
	// sweepEvery is how often open connections are looked at for a side that
	// no longer acknowledges what was sent to it.
	sweepEvery = 20 * time.Second
	// deadAfter is how long that may last. Together they stay well below two
	// minutes, as do the keep-alives that find a dead side of an idle
	// connection.
	deadAfter = 80 * time.Second
)

// sweeper finds connections whose peer has vanished while data was on its way
// to it; the kernel by itself retransmits for a quarter of an hour.
//
// TCP_USER_TIMEOUT would be one call at the start in place of a look now and
// then, but it also ends a connection to a living peer that reads nothing for
// that long (Linux 5.11 and later): a consumer that pauses is not dead.
type sweeper struct{ conns []*conn }

func (s *sweeper) sweep(t *tracker) {
	s.conns = t.all(s.conns[:0])
	for i, c := range s.conns {
		s.conns[i] = nil
		if unanswered(c.raw, deadAfter) {
			t.cutOne(c, ReasonClientLost)
			continue
		}
		if target := t.upstream(c); target != nil && unanswered(target, deadAfter) {
			t.cutOne(c, ReasonUpstreamLost)
		}
	}
}

// unanswered reports whether the peer has left data without acknowledgement for
// longer than limit.
func unanswered(c net.Conn, limit time.Duration) bool {
	for {
		if sc, ok := c.(syscall.Conn); ok {
			return lost(sc, limit)
		}
		inner, ok := c.(interface{ NetConn() net.Conn })
		if !ok {
			return false
		}
		c = inner.NetConn()
	}
}
