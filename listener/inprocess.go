package listener

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"
)

// inProcessAddr stands for the program itself where a socket has an address.
type inProcessAddr struct{}

var _ net.Addr = inProcessAddr{}

func (inProcessAddr) Network() string { return "in-process" }
func (inProcessAddr) String() string  { return "in-process" }

// errNotAccepting is an InProcess that was closed.
var errNotAccepting = errors.New("the program does not accept connections any more")

// InProcess is a net.Listener for a program that serves its connections itself:
// those of clients that have proved who they are and may pass (Options.InProcess).
// Its methods are safe for concurrent use. The zero value is ready to be used.
type InProcess struct {
	made    sync.Once
	waiting chan *Conn
	closed  chan struct{}
	once    sync.Once
}

var _ net.Listener = (*InProcess)(nil)

// NewInProcess makes one. It starts nothing.
func NewInProcess() *InProcess { return &InProcess{} }

func (p *InProcess) make() {
	p.made.Do(func() { p.waiting, p.closed = make(chan *Conn), make(chan struct{}) })
}

// Accept waits for the next connection, which is a *Conn. Nothing is kept in a
// queue: a client whose connection is not accepted within Options.DialTimeout is
// refused. After Close the error is net.ErrClosed.
func (p *InProcess) Accept() (net.Conn, error) {
	p.make()
	for {
		select {
		case <-p.closed:
			return nil, &net.OpError{Op: "accept", Net: p.Addr().Network(), Addr: p.Addr(), Err: net.ErrClosed}
		case c := <-p.waiting:
			if c.begin() == nil {
				return c, nil
			}
		}
	}
}

// Close refuses the clients that come from now on. Open connections go on. It may
// be called any number of times, and returns nil.
func (p *InProcess) Close() error {
	p.make()
	p.once.Do(func() { close(p.closed) })
	return nil
}

// Addr is no address of a socket, since there may be several or none.
func (p *InProcess) Addr() net.Addr { return inProcessAddr{} }

// hand waits until the program has accepted c.
func (p *InProcess) hand(ctx context.Context, c *Conn) error {
	p.make()
	select {
	case p.waiting <- c:
		return nil
	case <-p.closed:
		return errNotAccepting
	case <-ctx.Done():
		return ctx.Err()
	}
}

// handOver has the program accept a client that may pass.
func (c *conn) handOver(ctx context.Context, client net.Conn) {
	began := time.Now()
	p := &dialing{lazyContext: lazyContext{parent: ctx, deadline: began.Add(c.o.DialTimeout)}, client: client}
	defer p.cancel()
	err := c.l.conns.setPhase(c, p)
	if err == nil {
		c.target = Target{Instance: Instance{Address: inProcessAddr{}.String(), Attempts: 1}}
		if failed := c.o.InProcess.hand(p, &Conn{far: client, c: c}); failed != nil {
			err = failedAt(stageDial, failed)
		}
	}
	if err != nil {
		c.refuse(client, err)
	}
}
