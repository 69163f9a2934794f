package connectproxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"

	"connect-proxy/config"
	"connect-proxy/connectproxy/mtls"
	"connect-proxy/listener"
	"connect-proxy/listener/secure"
)

// ErrNoUpstream is Dial's when the configuration in force has no upstream of that
// name.
var ErrNoUpstream = errors.New("no such upstream")

// Dial connects the program itself to an upstream of the configuration, by the
// name of its destination (db, db.dc.dc2, near.query: config.Destination.String),
// whether or not it has a local port. The connection is with an instance that has
// proved its identity, and is counted, limited, logged and drained as one from a
// local port. It is a *Conn.
//
// Dial waits for the first configuration, certificates and instances; ctx and the
// upstream's connect timeout bound it, and ctx has no effect afterwards. The error
// is ErrNoUpstream, net.ErrClosed once Run has drained or ended, ctx's, or one of
// package upstream: errors.Is tells ErrNoEndpoints, ErrLimit, ErrIdentity, ErrClock
// and ErrDenied. An instance that denies us may say so only later: a Conn's Read
// returns ErrDenied, ErrUnavailable or ErrClock then, nothing was delivered, and the next
// Dial tries another one.
//
// Run must be called for Dial to return. It is safe for concurrent use.
func (p *Proxy) Dial(ctx context.Context, name string) (net.Conn, error) {
	select {
	case <-p.configured:
	case <-p.ended:
		return nil, fmt.Errorf("dialling %s: the proxy has ended: %w", name, net.ErrClosed)
	case <-ctx.Done():
		return nil, fmt.Errorf("dialling %s: waiting for a configuration: %w", name, ctx.Err())
	}
	ln, err := p.published.Load().upstreamNamed(name)
	if err != nil {
		return nil, fmt.Errorf("dialling %s: %w", name, err)
	}
	c, err := ln.Dial(ctx)
	if err != nil {
		return nil, err
	}
	return &Conn{Conn: c}, nil
}

// upstreamNamed finds the first upstream listener that leads to a destination.
func (s *state) upstreamNamed(name string) (*listener.Listener, error) {
	var known []string
	for _, want := range s.desired.specs {
		if want.key.role != roleUpstream {
			continue
		}
		if want.name != name {
			known = append(known, want.name)
			continue
		}
		b := s.listeners[want.key]
		if b == nil {
			return nil, notOpen(s.openProblems[want.key])
		}
		if ln := b.listener(); ln != nil {
			return ln, nil
		}
		return nil, notOpen(b.bindProblem())
	}
	return nil, fmt.Errorf("%w: the configuration has %q", ErrNoUpstream, strings.Join(known, ", "))
}

// notOpen returns why there is nothing to dial by: a problem, or the end of Run.
func notOpen(problem string) error {
	if problem == "" {
		return net.ErrClosed
	}
	return errors.New(problem)
}

// Conn is a connection that Dial has opened.
type Conn struct {
	*listener.Conn
	answered atomic.Bool
}

// Read is net.Conn's. Where the instance turns out to have refused the connection,
// the error is upstream.ErrDenied, upstream.ErrUnavailable or upstream.ErrClock.
func (c *Conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 && !c.answered.Load() {
		c.answered.Store(true)
	}
	if err == nil || c.answered.Load() {
		return n, err
	}
	if why, refused := secure.RefusalOf(err); refused {
		return n, mtls.Refused(why, err)
	}
	return n, err
}

// dialLocal opens a connection to the application at a.
func dialLocal(a config.Address) listener.DialFunc {
	d := listener.NewDialer()
	return func(ctx context.Context) (listener.Target, error) {
		c, err := d.DialContext(ctx, a.Network(), a.String())
		if err != nil {
			return listener.Target{}, err
		}
		return listener.Target{Conn: c, Instance: listener.Instance{Address: describeAddress(a), Attempts: 1}}, nil
	}
}
