package listener

import (
	"context"
	"fmt"
	"net"
	"time"

	"connect-proxy/listener/relay"
)

// Request is what a client asks for that says itself where it wants to go.
type Request struct {
	// Destination names where, for logs and observers; nil means that it is not
	// known.
	Destination fmt.Stringer
	// User names who asks, for the same; empty means that nobody is named.
	User string
	// Conn carries the client's bytes after the request; nil means the accepted
	// socket.
	Conn net.Conn
	// Sent is what has been read of them; nil means nothing.
	Sent []byte
	// Dial opens the far side. One of Dial and Serve is required.
	Dial DialFunc
	// Granted, if given, is called once the far side is open and before any of
	// its bytes are relayed: it tells the client. ctx carries what is left of
	// DialTimeout, which is set as the deadline of Conn's writes. An error ends the
	// connection.
	Granted func(ctx context.Context, i Instance) error
	// Refused, if given, tells the client that there is no far side, and why. It
	// may take a moment for that, and does not close Conn.
	Refused func(r Reason, err error)
	// Ended, if given, is called when both sides of a connection that was
	// granted are closed.
	Ended func(Summary)
	// Serve answers the client in place of a far side, and returns when it is
	// done with Conn, which then is closed; ctx is done when the connection is to
	// end, and soon after it is broken, also where nobody reads from it. The Observer
	// is told of such a connection's end alone.
	Serve func(ctx context.Context, client net.Conn)
	// IdleSince, if given, is since when the client waits for nothing; zero while it
	// waits for something. Under Options.FairConnections a connection that is idle
	// gives way before others. It must not block, and may be called from any goroutine.
	IdleSince func() time.Time

	granted bool
}

// RequestFunc reads what the client of a listener asks for. The rules for ctx
// and raw are HandshakeFunc's. On an error, which WithReason may give its Reason,
// it has told the client all that there is to say; what it knows of the request
// is wanted all the same.
type RequestFunc func(ctx context.Context, raw net.Conn) (Request, error)

// handleRequest has the client's request read and sees to it.
func (c *conn) handleRequest(ctx context.Context, raw net.Conn) {
	r, err := c.readRequest(ctx, raw)
	sent := r.Sent
	r.Sent = nil // it is not kept for as long as the connection
	c.request = &r
	if err == nil {
		err = c.l.conns.admitRequest(c, c.l.options.Load().MaxConnections)
	}
	if r.Conn == nil {
		r.Conn = raw
	}
	switch {
	case err != nil:
		c.refuse(r.Conn, err)
	case r.Serve != nil:
		c.host(ctx, raw)
	default:
		c.connect(ctx, r.Conn, r.Dial, sent)
	}
}

func (c *conn) readRequest(ctx context.Context, raw net.Conn) (Request, *connError) {
	if err := c.awaitClient(raw); err != nil {
		return Request{}, err
	}
	began := time.Now()
	r, err := c.o.Request(&deadlineContext{ctx, c.deadline()}, raw)
	if err != nil {
		r.Refused = nil // it has been told
		return r, failedAt(stageHandshake, err)
	}
	c.took.handshake = time.Since(began)
	if err := raw.SetDeadline(time.Time{}); err != nil {
		return r, &connError{ReasonClientError, err}
	}
	return r, nil
}

// grant tells the client of a request that its far side is open.
func (c *conn) grant(ctx context.Context) *connError {
	if c.request == nil || c.request.Granted == nil || c.request.granted {
		return nil
	}
	c.request.granted = true
	deadline, _ := ctx.Deadline()
	err := c.request.Conn.SetWriteDeadline(deadline)
	if err == nil {
		err = c.request.Granted(ctx, c.target.Instance)
	}
	if err == nil {
		err = c.request.Conn.SetWriteDeadline(time.Time{})
	}
	if err != nil {
		return failedAt(stageClient, err)
	}
	return nil
}

// refuseRequest tells the client of a request that there is no far side, and reports
// whether it has been told.
func (c *conn) refuseRequest(why *connError) bool {
	r := c.request
	if r == nil || r.granted {
		return false
	}
	if r.Refused != nil {
		r.Refused(why.reason, why)
	}
	return true
}

// idleSince is since when a connection is idle; zero where it is not, or nobody knows.
func (c *conn) idleSince() time.Time {
	if c.request == nil || c.request.IdleSince == nil {
		return time.Time{}
	}
	return c.request.IdleSince()
}

// requested is what is known of the client's request.
func (c *conn) requested() (destination fmt.Stringer, user string) {
	if c.request == nil {
		return nil, ""
	}
	return c.request.Destination, c.request.User
}

// host has a client served by its request.
func (c *conn) host(ctx context.Context, raw net.Conn) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	err := c.l.conns.setPhase(c, &hosting{cancel: cancel, client: c.request.Conn})
	if err == nil {
		defer c.watchBroken(raw)()
		c.request.Serve(ctx, c.request.Conn)
		err = &connError{reason: ReasonClosed}
	}
	_ = c.request.Conn.Close()
	if closing := c.l.conns.closing(c); closing != nil {
		err = closing
	}
	c.finish(relay.Result{}, err)
}

// admitRequest exchanges the slot among unfinished handshakes for one among the
// connections.
func (t *tracker) admitRequest(c *conn, max int) *connError {
	t.mu.Lock()
	if c.slot == slotHandshake {
		t.handshakes.proved(t.waiting)
	}
	t.mu.Unlock()
	return t.admit(c, max)
}
