package listener

import (
	"context"
	"net"

	"connect-proxy/listener/relay"
	"connect-proxy/listener/secure"
)

// phase is how far a connection has come, and owns what has to be closed to end
// it there. A connection is in one phase at a time (conn.phase), so whoever ends
// it from outside takes that phase, and no socket can be closed that is somebody
// else's by then.
type phase interface {
	// abort ends the connection at once. It may be called from any goroutine,
	// while the connection's own is at work.
	abort()
}

// handshaking owns an accepted socket whose client has not proven who it is.
type handshaking struct{ raw net.Conn }

func (p handshaking) abort() { secure.Abort(p.raw) }

// authorizing owns a client whose identity is known, and the context of the
// decision about it.
type authorizing struct {
	lazyContext
	client net.Conn
}

// abort has the connection's own goroutine end it, which tells the client why: a
// reset by this one would overtake that.
func (p *authorizing) abort() { p.cancel() }

// dialing owns a client that may pass, and the context of the dial. The far side
// is the connection's goroutine's to close until it is relayed.
type dialing struct {
	lazyContext
	client net.Conn
	addr   net.Addr // the client's
}

// Value answers for ClientAddr, without a context of its own for that.
func (p *dialing) Value(key any) any {
	if _, ok := key.(clientContextKey); ok {
		return p.addr
	}
	return p.lazyContext.Value(key)
}

// abort has the connection's own goroutine end a client that it can tell why. Any
// other is reset here: telling it may take a moment, which nobody has who is ended
// by force.
func (p *dialing) abort() {
	p.cancel()
	if _, ok := p.client.(refuser); !ok {
		secure.Abort(p.client)
	}
}

// hosting owns a client that its request serves.
type hosting struct {
	cancel context.CancelFunc
	client net.Conn
	// orderly has a client that waits for nothing be told of the end, and get what it
	// was sent before: a reset takes away what it has not read. Guarded by tracker.mu
	// until the end.
	orderly bool
}

func (p *hosting) abort() {
	if p.orderly {
		_ = p.client.Close()
		p.cancel()
		return
	}
	p.cancel()
	secure.Abort(p.client)
}

// handingOver owns nothing: the relay may not be disturbed while it takes both
// sides over. Whoever hands them over closes the relay if the connection was to
// end meanwhile.
type handingOver struct{}

func (handingOver) abort() {}

// relaying owns a connection that the relay serves.
type relaying struct{ relay *relay.Relay }

func (p relaying) abort() { p.relay.Close() }

var (
	_ phase = handshaking{}
	_ phase = (*authorizing)(nil)
	_ phase = (*dialing)(nil)
	_ phase = (*hosting)(nil)
	_ phase = handingOver{}
	_ phase = relaying{}
)
