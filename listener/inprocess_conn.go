package listener

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"connect-proxy/listener/relay"
	"connect-proxy/listener/secure"
)

// Conn is a connection with the program itself at one end: an InProcess has
// accepted it, or Listener.Dial has opened it. The program closes it. It also ends
// by the limits of Options, with its peer's right to call, and with its Listener;
// then its methods return an error that says why and is net.ErrClosed.
//
// Its methods have the rules of net.Conn, and where the other end speaks TLS those
// of crypto/tls: a Write that a deadline has cut short spoils the connection. Read
// returns io.EOF only where the other end has said that it has sent everything.
type Conn struct {
	far     net.Conn // the other end
	c       *conn
	dialled bool // the program is the client

	mu sync.Mutex // guards what follows
	// farEnded and ownEnded are the directions that have ended; farFirst says that
	// the other end did so, or broke off, before the program.
	farEnded, ownEnded, farFirst bool
	broken                       error     // what broke the other end off
	moved                        time.Time // when bytes did, or a direction ended
	limit                        *time.Timer
	ended                        bool
	cut                          *connError // why it ended, if not by Close
}

var _ relay.Conn = (*Conn)(nil)

// Peer is the identity that the other end has proved, a SPIFFE ID with Consul;
// empty where there is none to prove.
func (c *Conn) Peer() string { return c.Describe().Peer }

// Describe returns what is known of the connection.
func (c *Conn) Describe() Open { return c.c.open() }

// LocalAddr is net.Conn's.
func (c *Conn) LocalAddr() net.Addr { return c.far.LocalAddr() }

// RemoteAddr is net.Conn's: the address of the other proxy.
func (c *Conn) RemoteAddr() net.Addr { return c.far.RemoteAddr() }

// SetDeadline is net.Conn's.
func (c *Conn) SetDeadline(t time.Time) error { return c.far.SetDeadline(t) }

// SetReadDeadline is net.Conn's.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.far.SetReadDeadline(t) }

// SetWriteDeadline is net.Conn's.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.far.SetWriteDeadline(t) }

// begin gives the connection to the program. An error is why it has ended
// instead.
func (c *Conn) begin() error {
	b := c.c
	b.bytes = b.countedIn().Part()
	if err := b.l.conns.setPhase(b, handingOver{}); err != nil {
		c.refuse(err)
		return err
	}
	b.relayed, b.relayedAt, b.opened = true, time.Now(), true
	c.moved = b.relayedAt
	b.o.Observer.ConnOpened(b.open())
	if err := b.l.conns.setPhase(b, inProgram{c}); err != nil {
		c.cutOff(relay.Closed)
		return err
	}
	c.watchLimits()
	return nil
}

// refuse ends a connection that will not be the program's.
func (c *Conn) refuse(err *connError) {
	if !c.dialled {
		c.c.refuse(c.far, err)
		return
	}
	secure.Abort(c.far)
	c.c.finish(relay.Result{}, err)
}

// inProgram owns a connection that the program has.
type inProgram struct{ c *Conn }

func (p inProgram) abort() { p.c.cutOff(relay.Closed) }

var _ phase = inProgram{}

// Read is net.Conn's.
func (c *Conn) Read(p []byte) (int, error) {
	n, err := c.far.Read(p)
	if n > 0 {
		// crypto/tls goes on with what it had decrypted before it was closed.
		if over := c.over(); over != nil {
			return 0, over
		}
	}
	c.count(n, c.dialled)
	if err != nil {
		err = c.failed(err)
	}
	return n, err
}

// Write is net.Conn's.
func (c *Conn) Write(p []byte) (int, error) {
	n, err := c.far.Write(p)
	c.count(n, !c.dialled)
	if err != nil {
		err = c.failed(err)
	}
	return n, err
}

func (c *Conn) count(n int, toClient bool) {
	if n <= 0 {
		return
	}
	if toClient {
		c.c.bytes.Add(0, int64(n))
	} else {
		c.c.bytes.Add(int64(n), 0)
	}
	c.mu.Lock()
	c.moved = time.Now()
	c.mu.Unlock()
}

// over is why the connection has ended, or nil while it is open.
func (c *Conn) over() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.cut != nil:
		return c.wasCut()
	case c.ended:
		return net.ErrClosed
	}
	return nil
}

// wasCut returns why the connection was cut off. The caller holds mu.
func (c *Conn) wasCut() error {
	return fmt.Errorf("the connection was ended (%s): %w", c.cut.reason, net.ErrClosed)
}

// failed takes note of an error of the other end and returns it, or why the
// connection had ended.
func (c *Conn) failed(err error) error {
	c.mu.Lock()
	switch {
	case c.cut != nil:
		err = c.wasCut()
	case c.ended || isTimeout(err) && !isLost(err):
	case errors.Is(err, io.EOF) && !c.farEnded:
		c.farEnded, c.farFirst, c.moved = true, !c.ownEnded, time.Now()
		defer c.watchLimits()
	case !errors.Is(err, io.EOF) && c.broken == nil:
		c.broken, c.farFirst = err, c.farFirst || !c.ownEnded
	}
	c.mu.Unlock()
	return err
}

// CloseWrite tells the other end that nothing more will be sent, and leaves the
// other direction open.
func (c *Conn) CloseWrite() error {
	w, ok := c.far.(interface{ CloseWrite() error })
	if !ok {
		return fmt.Errorf("half-closing: %w", errors.ErrUnsupported)
	}
	if err := w.CloseWrite(); err != nil {
		return c.failed(err)
	}
	c.mu.Lock()
	c.ownEnded, c.moved = true, time.Now()
	c.mu.Unlock()
	c.watchLimits()
	return nil
}

// Close ends the connection in both directions. It may be called any number of
// times, also while Read and Write are waiting, which then return.
func (c *Conn) Close() error {
	how := relay.Clean
	c.mu.Lock()
	if c.broken != nil {
		how = relay.ClientReset
		if c.dialled {
			how = relay.UpstreamReset
		}
	}
	r, first := c.end(how)
	c.mu.Unlock()
	if !first {
		return nil
	}
	err := c.far.Close()
	c.finish(r, endOfRelay(r))
	return err
}

// cutOff ends the connection so that the other end cannot take it for complete.
func (c *Conn) cutOff(how relay.End) {
	c.mu.Lock()
	r, first := c.end(how)
	if !first {
		c.mu.Unlock()
		return
	}
	c.cut = endOfRelay(r)
	if closing := c.c.l.conns.closing(c.c); closing != nil {
		c.cut = closing
	}
	c.mu.Unlock()
	secure.Abort(c.far)
	c.finish(r, c.cut)
}

// end notes that the connection ends and reports whether it had not. The caller
// holds mu.
func (c *Conn) end(how relay.End) (r relay.Result, first bool) {
	first = !c.ended
	c.ended = true
	if c.limit != nil {
		c.limit.Stop()
	}
	return relay.Result{End: how, Err: c.broken, UpstreamFirst: c.dialled && c.farFirst}, first
}

// finish tells everybody, when the other end is closed.
func (c *Conn) finish(r relay.Result, why *connError) {
	r.ToUpstream, r.ToClient = c.c.bytes.ToUpstream(), c.c.bytes.ToClient()
	c.c.finish(r, why)
}

// watchLimits ends the connection if one of its limits is over, and otherwise
// looks again when the first may be.
func (c *Conn) watchLimits() {
	c.mu.Lock()
	if c.ended {
		c.mu.Unlock()
		return
	}
	how, left := c.nextLimit(time.Now())
	switch {
	case left <= 0:
		c.mu.Unlock()
		c.cutOff(how)
		return
	case left == noLimit:
	case c.limit == nil:
		c.limit = time.AfterFunc(left, c.watchLimits)
	default:
		c.limit.Reset(left)
	}
	c.mu.Unlock()
}

// noLimit is longer than any.
const noLimit = time.Duration(1<<63 - 1)

// nextLimit is the limit that is over first, unless something moves, and how long
// that takes. The caller holds mu.
func (c *Conn) nextLimit(now time.Time) (how relay.End, left time.Duration) {
	left = noLimit
	add := func(end relay.End, since time.Time, limit time.Duration) {
		if d := limit - now.Sub(since); limit > 0 && d < left {
			how, left = end, d
		}
	}
	add(relay.Lifetime, c.c.relayedAt, c.c.o.MaxLifetime)
	add(relay.Idle, c.moved, c.c.o.IdleTimeout)
	if c.farEnded != c.ownEnded {
		add(relay.HalfClose, c.moved, c.c.o.HalfCloseTimeout)
	}
	return how, left
}
