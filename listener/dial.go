package listener

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	"connect-proxy/listener/relay"
)

// calling owns the context of a dial for the program itself. The far side is the
// caller's to close until it is the program's.
type calling struct{ lazyContext }

func (p *calling) abort() { p.cancel() }

var _ phase = (*calling)(nil)

// Dial opens a far side by Options.Dial for the program itself, as a connection
// among those that were accepted: it counts against MaxConnections, the Observer
// and the log are told of it, and Drain waits for it. It ends when ctx does, which
// has no effect on the connection afterwards, and within DialTimeout. Errors are
// Options.Dial's; net.ErrClosed once the Listener takes no connection any more.
func (l *Listener) Dial(ctx context.Context) (*Conn, error) {
	o := l.options.Load()
	c := &conn{
		l: l, o: o, id: lastID.Add(1), start: time.Now(),
		client: inProcessAddr{}, local: inProcessAddr{},
	}
	p := &calling{lazyContext{parent: ctx, deadline: c.start.Add(o.DialTimeout)}}
	defer p.cancel()
	c.phase = p
	switch err := l.conns.add(c, o); err {
	case nil:
	case errNotOpen:
		return nil, fmt.Errorf("dialling %s: %w", o.Name, err)
	default:
		return nil, c.undialled(err)
	}
	if o.Dial == nil {
		return nil, c.undialled(&connError{ReasonDialFailed, errNoDial})
	}
	target, err := o.Dial(p)
	if err == nil && target.Conn == nil {
		err = errNoConn
	}
	if err != nil {
		return nil, c.undialled(failedAt(stageDial, err))
	}
	c.target, c.dialling, c.took.dial = target, c.start, time.Since(c.start)
	own := &Conn{far: target.Conn, c: c, dialled: true}
	if err := own.begin(); err != nil {
		return nil, err
	}
	// What a handshake has held back would otherwise wait for the program.
	if held, ok := target.Conn.(interface{ Flush() error }); ok {
		if err := held.Flush(); err != nil {
			err = own.failed(err)
			_ = own.Close()
			return nil, err
		}
	}
	return own, nil
}

// undialled ends a connection that has no far side, and returns why.
func (c *conn) undialled(err *connError) error {
	if closing := c.l.conns.closing(c); closing != nil {
		err = closing
	}
	c.finish(relay.Result{}, err)
	return err
}

// noSocket is a socket that nobody can connect to.
type noSocket struct {
	closed chan struct{}
	once   sync.Once
}

// WithoutSocket stands in for the socket of a Listener that is there for its Dial
// alone.
func WithoutSocket() net.Listener { return &noSocket{closed: make(chan struct{})} }

func (s *noSocket) Accept() (net.Conn, error) {
	<-s.closed
	return nil, net.ErrClosed
}

func (s *noSocket) Close() error {
	s.once.Do(func() { close(s.closed) })
	return nil
}

func (s *noSocket) Addr() net.Addr { return inProcessAddr{} }
