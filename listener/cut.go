package listener

import (
	"net"

	"connect-proxy/listener/relay"
)

// severed is what of a connection must be ended to end it, taken under the
// tracker's lock and ended outside of it.
type severed struct {
	client, upstream net.Conn // nil from when the relay takes them
	step             *stepContext
	relay            *relay.Relay
}

// cutPeers cuts the connections of every identity that matches.
func (t *tracker) cutPeers(match func(peer string) bool, r Reason) int {
	// match runs without the lock: it belongs to somebody else. An identity
	// that registers meanwhile is authorized later than this call began.
	var gone []string
	for _, peer := range t.peers() {
		if match(peer) {
			gone = append(gone, peer)
		}
	}
	if len(gone) == 0 {
		return 0
	}
	t.mu.Lock()
	var cut []severed
	for _, peer := range gone {
		cut = sever(t.byPeer[peer], r, cut)
	}
	t.mu.Unlock()
	end(cut)
	return len(cut)
}

// cutAll cuts every connection there is and every one that will be added.
func (t *tracker) cutAll(r Reason) int {
	t.mu.Lock()
	t.cutting = r
	var cut []severed
	for _, head := range t.byPeer {
		cut = sever(head, r, cut)
	}
	t.mu.Unlock()
	end(cut)
	return len(cut)
}

// sever marks the connections of a list that nothing has cut yet.
func sever(c *conn, r Reason, cut []severed) []severed {
	for ; c != nil; c = c.next {
		cut = c.sever(r, cut)
	}
	return cut
}

func (c *conn) sever(r Reason, cut []severed) []severed {
	if c.cause != ReasonUnknown {
		return cut
	}
	c.cause = r
	return append(cut, severed{c.client, c.target.Conn, c.step.Load(), c.relay})
}

// errOfCut says what a connection was cut for where its reason does not.
func errOfCut(r Reason) error {
	switch r {
	case ReasonHandshakeEvicted:
		return errEvicted
	case ReasonLimit:
		return errDecisions
	}
	return nil
}

func end(cut []severed) {
	for _, s := range cut {
		if s.step != nil {
			s.step.end()
		}
		if s.relay != nil {
			s.relay.Close()
			continue
		}
		if s.client != nil {
			abort(s.client)
		}
		if s.upstream != nil {
			abort(s.upstream)
		}
	}
}

// aborter is a connection that can end without the appearance of order;
// *secure.Conn is one.
type aborter interface{ Abort() error }

// abort ends a connection so that the other side cannot take it for an orderly
// end: what came before may be cut short. It does not block on the other side,
// and the kernel keeps no state of a connection that is reset.
func abort(c net.Conn) {
	switch c := c.(type) {
	case aborter:
		_ = c.Abort()
	case *net.TCPConn:
		_ = c.SetLinger(0)
		_ = c.Close()
	default:
		_ = c.Close()
	}
}
