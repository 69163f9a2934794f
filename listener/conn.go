package listener

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"connect-proxy/listener/relay"
)

// conn is one accepted connection. The goroutine that takes it up the ladder
// owns it; what tracker.mu guards is read by those who cut it.
type conn struct {
	l     *Listener
	o     *settings // of the moment it was accepted
	addr  net.Addr  // the client's
	start time.Time
	// source is what counts as the client's address among strangers.
	source netip.Addr

	// Guarded by tracker.mu, written by the connection's goroutine alone, which
	// may read them without. The sockets are nil once the relay has them.
	raw     net.Conn
	client  net.Conn // raw, or what the handshake made of it
	peer    string
	resumed bool
	target  Target

	// Guarded by tracker.mu.
	prev, next *conn
	place      place
	cause      Reason
	relay      *relay.Relay
	// Where it stands until it is authorized.
	ahead, behind *conn
	partyLine     *partyLine // nil in a line that is nobody's
	since         time.Time
	spoken        bool // it has sent a byte

	step      atomic.Pointer[stepContext]
	relayed   bool
	opened    bool // the Observer has been told
	relayedAt time.Time
	// handing is held while it is: a refusal may come before that is done.
	handing sync.Mutex
	// refusal is why the far side refused the connection, and unsent what it
	// was sent in vain; the next one gets it first.
	refusal error
	unsent  []byte
}

// climb takes the connection up the ladder.
func (c *conn) climb(ctx context.Context) {
	var reason Reason
	var err error
	if c.refusal == nil {
		reason, err = c.enter(ctx)
	}
	if reason == ReasonUnknown {
		reason, err = c.connect(ctx)
	}
	c.step.Store(nil)
	if reason != ReasonUnknown || !c.handOver() {
		c.refuse(reason, err)
	}
}

// enter establishes who the client is and that it may pass.
func (c *conn) enter(ctx context.Context) (Reason, error) {
	if c.o.Handshake == nil {
		return ReasonUnknown, nil
	}
	deadline := c.start.Add(c.o.HandshakeTimeout)
	if err := c.raw.SetDeadline(deadline); err != nil {
		return reasonOf(stageHandshake, err), err
	}
	if err := awaitByte(c.raw); err != nil {
		if isTimeout(err) {
			return ReasonHandshakeTimeout, err
		}
		return ReasonSilent, errSilent
	}
	c.l.conns.spoke(c)
	session, err := c.o.Handshake(&deadlineContext{ctx, deadline}, c.raw)
	switch {
	case err == nil:
	case !peeks && errors.Is(err, io.EOF):
		return ReasonSilent, errSilent // as near as can be told here
	default:
		return reasonOf(stageHandshake, err), err
	}
	if session.Peer == "" { // nothing could revoke it later
		return ReasonHandshakeFailed, errNoPeer
	}
	c.l.conns.identify(c, session, c.l.options.Load().MaxAuthorizations)
	if c.o.Authorize == nil {
		return ReasonAuthorizationUnknown, errNoAuthorize
	}
	step := c.begin(ctx, deadline)
	if c.isCut() {
		return ReasonShutdown, nil // end knows better why
	}
	defer step.end()
	if err := c.o.Authorize(step, session); err != nil {
		return reasonOf(stageAuthorize, err), err
	}
	if err := c.l.conns.admit(c, c.l.options.Load().MaxConnections); err != nil {
		return ReasonLimit, err
	}
	if err := c.raw.SetDeadline(time.Time{}); err != nil {
		return ReasonClientError, err
	}
	return ReasonUnknown, nil
}

// connect opens the far side.
func (c *conn) connect(ctx context.Context) (Reason, error) {
	if c.o.Dial == nil {
		return ReasonDialFailed, errNoDial
	}
	step := c.begin(ctx, time.Now().Add(c.o.DialTimeout))
	if c.isCut() {
		return ReasonShutdown, nil
	}
	defer step.end()
	dial := c.o.Dial
	if c.refusal != nil {
		dial = c.dialNext
	}
	target, err := dial(step)
	if err != nil {
		c.l.conns.attach(c, Target{}) // what has refused is not ours any more
		return reasonOf(stageDial, err), err
	}
	c.l.conns.attach(c, target)
	return ReasonUnknown, nil
}

// begin makes the context of a step, where those who cut the connection find
// it. isCut must be asked afterwards: who cut it earlier has not found it.
func (c *conn) begin(ctx context.Context, deadline time.Time) *stepContext {
	step := &stepContext{parent: ctx, deadline: deadline}
	c.step.Store(step)
	return step
}

func (c *conn) isCut() bool { return c.l.conns.cause(c) != ReasonUnknown }

// refuse ends a connection that will not be relayed.
func (c *conn) refuse(reason Reason, err error) {
	if cause := c.l.conns.cause(c); cause != ReasonUnknown {
		reason, err = cause, errOfCut(cause)
	}
	if c.target.Conn != nil {
		abort(c.target.Conn)
	}
	switch reason {
	case ReasonSilent, ReasonHandshakeFailed:
		_ = c.raw.Close() // a reset could overtake the alert that says why
	default:
		c.turnAway(reason)
	}
	c.finish(relay.Result{}, reason, err)
}

// end is called by the relay when both sides are closed.
func (c *conn) end(r relay.Result) {
	if r.End == relay.Refused && c.resume(r) {
		return
	}
	reason, err := reasonOfEnd(r), r.Err
	if cause := c.l.conns.cause(c); cause != ReasonUnknown {
		reason, err = cause, nil
	}
	c.finish(r, reason, err)
}

// finish tells of a connection whose sides are closed and takes it out.
func (c *conn) finish(r relay.Result, reason Reason, err error) {
	c.settle(r)
	s := Summary{
		Open:       c.open(),
		ToUpstream: r.ToUpstream,
		ToClient:   r.ToClient,
		Duration:   time.Since(c.start),
		Reason:     reason,
		Err:        err,
		Resumed:    c.resumed,
		Relayed:    c.relayed,
	}
	c.o.Observer.ConnClosed(s)
	c.l.lines.closed(c.o.log, &s)
	c.l.conns.remove(c)
}

func (c *conn) open() Open {
	o := Open{
		Listener: c.o.Name,
		Client:   c.addr,
		Peer:     c.peer,
		Instance: c.target.Instance,
	}
	if o.Peer == "" {
		o.Peer = c.target.Peer
	}
	return o
}
