package load

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// patience is how long any single step may take: opening a connection, sending
// a request, waiting for some bytes.
const patience = 20 * time.Second

// Client opens connections to one address. It is safe for any goroutine.
type Client struct {
	address  string
	sources  []net.IP
	next     atomic.Uint64
	tls      *tls.Config // nil for none
	greeting Greeting    // empty for none
	resumed  atomic.Int64
}

// NewClient is a client of address, host:port. Connections come from the
// sources in turn, so that the ports of one do not run out; without any, the
// kernel chooses.
func NewClient(address string, sources ...net.IP) *Client {
	return &Client{address: address, sources: sources}
}

// WithTLS is a client of the same address whose connections begin with TLS.
func (c *Client) WithTLS(cfg *tls.Config) *Client {
	return &Client{address: c.address, sources: c.sources, tls: cfg}
}

// Resumed is how many of its connections have resumed a session.
func (c *Client) Resumed() int64 { return c.resumed.Load() }

// conn is a connection that ends with its context.
type conn struct {
	net.Conn
	release func() bool
}

// end closes it.
func (c *conn) end() {
	c.release()
	c.Conn.Close()
}

// open opens a connection and says what it is for.
func (c *Client) open(ctx context.Context, first []byte) (*conn, error) {
	d := net.Dialer{Timeout: patience}
	if n := uint64(len(c.sources)); n > 0 {
		d.LocalAddr = &net.TCPAddr{IP: c.sources[c.next.Add(1)%n]}
	}
	raw, err := d.DialContext(ctx, "tcp", c.address)
	if err != nil {
		return nil, err
	}
	made := &conn{Conn: raw, release: context.AfterFunc(ctx, func() { raw.Close() })}
	raw.SetDeadline(time.Now().Add(patience))
	if err := c.secure(ctx, made); err != nil {
		made.end()
		return nil, err
	}
	if err := c.greeting.greet(made); err != nil {
		made.end()
		return nil, err
	}
	if _, err := made.Write(first); err != nil {
		made.end()
		return nil, err
	}
	return made, nil
}

// secure shakes hands, if the client does.
func (c *Client) secure(ctx context.Context, one *conn) error {
	if c.tls == nil {
		return nil
	}
	secured := tls.Client(one.Conn, c.tls)
	if err := secured.HandshakeContext(ctx); err != nil {
		return fmt.Errorf("shaking hands: %w", err)
	}
	if secured.ConnectionState().DidResume {
		c.resumed.Add(1)
	}
	one.Conn = secured
	return nil
}

// Check carries one request there and back: is anybody there?
func (c *Client) Check(ctx context.Context) error {
	one, err := c.open(ctx, append([]byte{opAnswer}, request(headerLen+1, 1)...))
	if err != nil {
		return err
	}
	defer one.end()
	return one.await(make([]byte, 1), 1)
}

// await reads an answer of n bytes through buf.
func (c *conn) await(buf []byte, n int) error {
	for n > 0 {
		k, err := c.Read(buf[:min(n, len(buf))])
		n -= k
		if err != nil && n > 0 {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return fmt.Errorf("waiting for an answer: %w", err)
		}
	}
	return nil
}

// Window says when a load is measured: for so long, after it has warmed up.
type Window struct {
	Warm, For time.Duration
	// Mark is called at the beginning and at the end of the measured time.
	Mark func()
}

// phases are the times of a load, shared by its goroutines.
type phases struct{ measuring, over atomic.Bool }

// run waits through the window and says how long the measured part took.
func (w Window) run(ctx context.Context, p *phases) time.Duration {
	defer p.over.Store(true)
	if !pause(ctx, w.Warm) {
		return 0
	}
	w.Mark()
	start := time.Now()
	p.measuring.Store(true)
	pause(ctx, w.For)
	p.measuring.Store(false)
	took := time.Since(start)
	w.Mark()
	return took
}

// pause reports whether the time passed before the context ended.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// failures counts what went wrong and keeps the first.
type failures struct {
	mu    sync.Mutex
	n     int
	first error
}

func (f *failures) add(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.n++; f.first == nil {
		f.first = err
	}
}
