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
	"connect-proxy/listener/secure"
)

// conn is one accepted connection. One goroutine at a time serves it, which owns
// what nothing else is said of.
type conn struct {
	l *Listener
	o *settings // those of the moment it was accepted
	// source is what counts as the client's address among unfinished handshakes.
	source netip.Addr

	// What is known of it so far; open makes an Open of it.
	id            uint64
	start         time.Time
	client, local net.Addr
	session       SessionInfo // the client's
	target        Target      // its Conn is nil once the relay has it
	request       *Request    // nil until it is read, and without Options.Request
	took          took
	dialling      time.Time

	opened bool // the Observer has been told
	// relayed and relayedAt say since when the relay has it. starting is held
	// while it is handed over: a refusal may come before that is done.
	relayed   bool
	relayedAt time.Time
	starting  sync.Mutex
	bytes     *relay.Counters // nil until it is relayed

	// What follows is guarded by tracker.mu.

	phase phase
	// closing is why it was ended from outside; nil if it was not.
	closing    *connError
	slot       slot
	peer       string // "" until it is known
	prev, next *conn  // of the same peer
	// Where it stands in a queue until it is authorized.
	ahead, behind *conn
	queue         *ownerQueue // nil in one that is nobody's
	since         time.Time
	spoken        bool // the client has sent a byte
}

// took is the time that each step took.
type took struct{ handshake, authorization, dial time.Duration }

// lastID is the last connection's Open.ID.
var lastID atomic.Uint64

func newConn(l *Listener, o *settings, raw net.Conn) *conn {
	return &conn{
		l:      l,
		o:      o,
		phase:  handshaking{raw},
		id:     lastID.Add(1),
		start:  time.Now(),
		client: raw.RemoteAddr(),
		local:  l.localAddr(raw),
	}
}

// open describes the connection as it is now.
func (c *conn) open() Open {
	o := Open{
		ID:            c.id,
		Listener:      c.o.Name,
		Start:         c.start,
		Client:        c.client,
		Local:         c.local,
		SessionInfo:   c.session,
		Instance:      c.target.Instance,
		Dialling:      c.dialling,
		Handshake:     c.took.handshake,
		Authorization: c.took.authorization,
		Dial:          c.took.dial,
	}
	if c.o.Handshake == nil {
		o.SessionInfo = o.Instance.Session
	}
	o.Destination, o.User = c.requested()
	return o
}

// serve takes an accepted connection as far as the relay.
func (c *conn) serve(ctx context.Context, raw net.Conn) {
	client := raw
	if c.o.Request != nil {
		c.handleRequest(ctx, raw)
		return
	}
	if c.o.Handshake != nil {
		session, err := c.authenticate(ctx, raw)
		if err != nil {
			c.refuse(raw, err)
			return
		}
		client = session.Conn
		if err := c.authorize(ctx, raw, session); err != nil {
			c.refuse(client, err)
			return
		}
	}
	if c.o.InProcess != nil {
		c.handOver(ctx, client)
		return
	}
	c.connect(ctx, client, c.o.Dial, nil)
}

// deadline is when the client must be authorized.
func (c *conn) deadline() time.Time { return c.start.Add(c.o.HandshakeTimeout) }

// awaitClient gives the client its deadline and waits for its first byte.
func (c *conn) awaitClient(raw net.Conn) *connError {
	if err := raw.SetDeadline(c.deadline()); err != nil {
		return failedAt(stageHandshake, err)
	}
	if err := awaitByte(raw); err != nil {
		if isTimeout(err) {
			return &connError{ReasonHandshakeTimeout, err}
		}
		return errSilent
	}
	c.l.conns.spoke(c)
	return nil
}

// authenticate establishes who the client is.
func (c *conn) authenticate(ctx context.Context, raw net.Conn) (Session, *connError) {
	if err := c.awaitClient(raw); err != nil {
		return Session{}, err
	}
	began := time.Now()
	session, err := c.o.Handshake(&deadlineContext{ctx, c.deadline()}, raw)
	switch {
	case err == nil:
	case !peeks && errors.Is(err, io.EOF):
		return session, errSilent // this system knows no better
	default:
		return session, failedAt(stageHandshake, err)
	}
	if session.Peer == "" || session.Conn == nil { // nothing could revoke it later
		return session, errNoPeer
	}
	c.took.handshake = time.Since(began)
	return session, nil
}

// authorize decides whether the client may pass.
func (c *conn) authorize(ctx context.Context, raw net.Conn, session Session) *connError {
	p := &authorizing{lazyContext: lazyContext{parent: ctx, deadline: c.deadline()}, client: session.Conn}
	defer p.cancel()
	if err := c.l.conns.identify(c, p, session.SessionInfo, c.l.options.Load().MaxAuthorizations); err != nil {
		return err
	}
	if c.o.Authorize == nil {
		return &connError{ReasonAuthorizationUnknown, errNoAuthorize}
	}
	began := time.Now()
	if err := c.o.Authorize(p, session); err != nil {
		return failedAt(stageAuthorize, err)
	}
	c.took.authorization = time.Since(began)
	if err := c.l.conns.admit(c, c.l.options.Load().MaxConnections); err != nil {
		return err
	}
	if err := raw.SetDeadline(time.Time{}); err != nil {
		return &connError{ReasonClientError, err}
	}
	return nil
}

// connect opens the far side and has both relayed. What a far side before has
// refused, unsent, goes to this one first.
func (c *conn) connect(ctx context.Context, client net.Conn, dial DialFunc, unsent []byte) {
	err := c.dial(ctx, client, dial)
	if err == nil {
		err = c.startRelay(client, unsent)
	}
	if err != nil {
		c.refuse(client, err)
	}
}

func (c *conn) dial(ctx context.Context, client net.Conn, dial DialFunc) *connError {
	if dial == nil {
		return &connError{ReasonDialFailed, errNoDial}
	}
	began := time.Now()
	c.dialling = began
	p := &dialing{lazyContext: lazyContext{parent: ctx, deadline: began.Add(c.o.DialTimeout)}, client: client, addr: c.client}
	defer p.cancel()
	if err := c.l.conns.setPhase(c, p); err != nil {
		return err
	}
	target, err := dial(p)
	if err == nil && target.Conn == nil {
		err = errNoConn
	}
	if err != nil {
		return failedAt(stageDial, err)
	}
	c.target = target
	c.took.dial = time.Since(began)
	if err := c.introduce(p.deadline); err != nil {
		return err
	}
	return c.grant(p)
}

// refuse ends a connection that will not be relayed.
func (c *conn) refuse(client net.Conn, err *connError) {
	if closing := c.l.conns.closing(c); closing != nil {
		err = closing
	}
	if c.target.Conn != nil {
		secure.Abort(c.target.Conn)
	}
	told := c.refuseRequest(err)
	switch {
	case told, err.reason == ReasonSilent, err.reason == ReasonHandshakeFailed:
		_ = client.Close() // a reset could overtake the word that says why
	default:
		turnAway(client, err.reason)
	}
	c.finish(relay.Result{}, err)
}

// finish tells of a connection whose sides are closed and takes it out.
func (c *conn) finish(r relay.Result, err *connError) {
	c.reportEnd(r)
	s := Summary{
		Open:       c.open(),
		ToUpstream: r.ToUpstream,
		ToClient:   r.ToClient,
		Duration:   time.Since(c.start),
		Reason:     err.reason,
		Err:        err.err,
		Relayed:    c.relayed,
		Served:     c.request != nil && c.request.Serve != nil,
	}
	c.o.Observer.ConnClosed(s)
	c.l.log.closed(c.o.log, &s)
	if c.request != nil && c.request.granted && c.request.Ended != nil {
		c.request.Ended(s)
	}
	c.l.conns.remove(c)
}
