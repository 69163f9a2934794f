package dynamic

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"connect-proxy/config"
	"connect-proxy/listener"
)

// Call is a connection that a front end wants for itself.
type Call struct {
	// To is where it goes. The front end has checked that its
	// config.DestinationList allows it: the Dialer does not.
	To config.Destination
	// User is on whose behalf it is, for logs; empty means that nobody is known.
	User string
	// Client is the address of whoever that is, for logs; nil means none is known.
	Client net.Addr
}

// Dialer opens connections that front ends read and write themselves. Each is
// relayed between the front end and its far side as if a client had connected, so
// that it is limited, retried, counted, logged, shown and drained as any other.
//
// It is the socket of a listener.Listener, with Request as its
// listener.RequestFunc, which serves the connections: without its Run, Dial waits
// for its context.
type Dialer struct {
	upstreams *Upstreams
	calls     chan *pendingConn
	closing   sync.Once
	closed    chan struct{}
}

var _ net.Listener = (*Dialer)(nil)

// NewDialer makes a Dialer to the destinations of u. It starts nothing.
func NewDialer(u *Upstreams) *Dialer {
	return &Dialer{upstreams: u, calls: make(chan *pendingConn), closed: make(chan struct{})}
}

// Dial connects to an instance of a destination, as Upstreams.Target does and with
// its errors. It waits until the listener takes the connection and an instance is
// connected to, ctx is done, or the Dialer is closed (ErrClosed). The caller closes
// the Conn. It is safe for concurrent use.
func (d *Dialer) Dial(ctx context.Context, to Call) (*Conn, error) {
	near, far, err := pair()
	if err != nil {
		return nil, err
	}
	c := &Conn{Conn: near, ended: make(chan struct{})}
	in := &pendingConn{Conn: far, Call: to, ctx: ctx, conn: c, connected: make(chan error, 1)}
	select {
	case d.calls <- in:
	case <-ctx.Done():
		err = ctx.Err()
	case <-d.closed:
		err = ErrClosed
	}
	if err != nil {
		_ = far.Close()
		_ = near.Close()
		return nil, fmt.Errorf("dialling %s: %w", to.To, err)
	}
	select {
	case err = <-in.connected:
	case <-ctx.Done():
		err = fmt.Errorf("dialling %s: %w", to.To, ctx.Err())
	}
	if err != nil {
		_ = near.Close()
		if ctx.Err() != nil { // the listener may have been first to see it
			err = fmt.Errorf("dialling %s: %w", to.To, ctx.Err())
		}
		return nil, err
	}
	return c, nil
}

// Accept returns the next connection that Dial is called for, for listener.New. It
// returns net.ErrClosed after Close.
func (d *Dialer) Accept() (net.Conn, error) {
	select {
	case c := <-d.calls:
		return c, nil
	case <-d.closed:
		return nil, net.ErrClosed
	}
}

// Close ends Accept, and has Dial fail from then on. Open connections go on. It may
// be called more than once.
func (d *Dialer) Close() error {
	d.closing.Do(func() { close(d.closed) })
	return nil
}

// Addr returns an address that stands for this process: network and text are
// "internal".
func (d *Dialer) Addr() net.Addr { return internalAddr{} }

// internalAddr is the address of what this process connects to itself.
type internalAddr struct{}

func (internalAddr) Network() string { return "internal" }
func (internalAddr) String() string  { return "internal" }

// pendingConn is the far end of a connection that is being dialled, as its listener
// accepts it.
type pendingConn struct {
	net.Conn
	Call
	ctx       context.Context // of Dial
	conn      *Conn
	connected chan error // gets one value
}

// Close is net.Conn's. Whoever ends the connection before its Request is asked, as
// a limit or the end of everything does, has Dial return too.
func (c *pendingConn) Close() error {
	c.notify(fmt.Errorf("dialling %s: %w", c.To, ErrClosed))
	return c.Conn.Close()
}

// notify has Dial return, with err. Only the first call counts, and none waits: Dial
// may have given up.
func (c *pendingConn) notify(err error) {
	select {
	case c.connected <- err:
	default: // it has been notified
	}
}

// RemoteAddr is the client on whose behalf it is.
func (c *pendingConn) RemoteAddr() net.Addr {
	if c.Client == nil {
		return internalAddr{}
	}
	return c.Client
}

// LocalAddr is the Dialer's.
func (c *pendingConn) LocalAddr() net.Addr { return internalAddr{} }

// Request is a listener.RequestFunc for connections that Accept has returned, and
// an error for any other.
func (d *Dialer) Request(_ context.Context, raw net.Conn) (listener.Request, error) {
	c, ok := raw.(*pendingConn)
	if !ok {
		return listener.Request{}, errors.New("not a connection of this proxy's own")
	}
	return listener.Request{
		Destination: c.To,
		User:        c.User,
		Conn:        c.Conn,
		Dial: func(ctx context.Context) (listener.Target, error) {
			ctx, cancel := context.WithCancel(ctx)
			defer cancel()
			defer context.AfterFunc(c.ctx, cancel)()
			return d.upstreams.Target(ctx, c.To)
		},
		Granted: func(_ context.Context, i listener.Instance) error {
			c.conn.instance = i
			c.notify(nil)
			return nil
		},
		Refused: func(r listener.Reason, err error) { c.notify(listener.WithReason(r, err)) },
		Ended:   c.conn.end,
	}, nil
}

// Conn is a connection to an instance, and as safe for concurrent use as any
// net.Conn. Close does not wait for what was written, which still goes out. Where
// the connection did not end in order, Read and Write return an error with its
// listener.Reason, never an io.EOF, and may take a second longer to learn it.
type Conn struct {
	net.Conn
	instance listener.Instance
	ended    chan struct{}    // closed when the far side is
	summary  listener.Summary // once ended is closed
}

// endWait is how long Read waits to be told why a connection has ended.
const endWait = time.Second

// Instance returns the instance that was first connected to. Another may have
// taken its place before anything was delivered.
func (c *Conn) Instance() listener.Instance { return c.instance }

// CloseWrite ends the sending direction and leaves the other open. Its error is
// errors.ErrUnsupported where the system has no way to.
func (c *Conn) CloseWrite() error {
	w, ok := c.Conn.(interface{ CloseWrite() error })
	if !ok {
		return errors.ErrUnsupported
	}
	return w.CloseWrite()
}

// Read reads as net.Conn says, and explains the end of the connection.
func (c *Conn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	return n, c.explain(err)
}

// Write writes as net.Conn says, and explains the end of the connection.
func (c *Conn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	return n, c.explain(err)
}

// explain puts the reason why the connection has ended in the place of what the
// end within the proxy looks like.
func (c *Conn) explain(err error) error {
	var timeout net.Error
	switch {
	case err == nil, errors.As(err, &timeout) && timeout.Timeout(), errors.Is(err, net.ErrClosed):
		return err
	case errors.Is(err, io.EOF) && !hungUp(c.Conn):
		return err // the far side is done with sending alone
	}
	told := time.NewTimer(endWait)
	defer told.Stop()
	select {
	case <-c.ended:
	case <-told.C:
		return err
	}
	if c.summary.Reason == listener.ReasonClosed {
		return err
	}
	if !c.summary.Relayed && c.summary.Err != nil {
		return listener.WithReason(c.summary.Reason, c.summary.Err) // there never was one
	}
	why := fmt.Errorf("the connection to %s has ended: %s", c.summary.Destination, c.summary.Reason)
	if c.summary.Err != nil {
		why = fmt.Errorf("%w: %w", why, c.summary.Err)
	}
	return listener.WithReason(c.summary.Reason, why)
}

func (c *Conn) end(s listener.Summary) {
	c.summary = s
	close(c.ended)
}
