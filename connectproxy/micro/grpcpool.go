package micro

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"connect-proxy/config"
	"connect-proxy/listener"
)

const (
	// grpcSpread is over how many connections the calls to a service go in turn,
	// so that all its instances have some.
	grpcSpread = 4
	// maxGRPCConnections is how many there may be to a service, where it takes few
	// calls at a time on each.
	maxGRPCConnections = 64
	// grpcMaxAge is how long a connection gets new calls, so that instances that
	// are new have some too.
	grpcMaxAge = 5 * time.Minute
	// spreadAgain is how long after one that could not be made another connection
	// is tried where there is one already.
	spreadAgain = 5 * time.Second
)

// grpcPool has the connections to services that calls of gRPC go over, those of
// all clients together. Its methods are safe for concurrent use.
type grpcPool struct {
	transport *http.Transport

	mu       sync.Mutex // guards what follows
	draining bool       // nothing is kept for later
	services map[config.Destination]*grpcService
}

// grpcService has the connections to one service. The pool's mu guards it.
type grpcService struct {
	connections []*grpcConnection // the one whose turn it is comes first
	dialling    *grpcDialling     // nil while none is being made
	spreadAfter time.Time
}

type grpcConnection struct {
	*http.ClientConn
	since  time.Time
	socket *grpcSocket
}

// explain returns why err has ended a call, or kept it from being sent, where the
// connection knows it better: whoever comes to one that was turned away is told by
// net/http that it cannot be used, and no more.
func (c *grpcConnection) explain(err error) error {
	if away := c.socket.turnedAway.Load(); away != nil {
		return away
	}
	return err
}

// grpcDialling is a connection that is being made, which others may wait for.
type grpcDialling struct {
	done chan struct{}
	// err is there once done is closed. It is nil where whom the connection was
	// made for has given up.
	err error
}

func newGRPCPool(dial func(context.Context, config.Destination, net.Addr) (net.Conn, error), idle time.Duration) *grpcPool {
	var only http.Protocols
	only.SetUnencryptedHTTP2(true)
	return &grpcPool{
		services: map[config.Destination]*grpcService{},
		transport: &http.Transport{
			Protocols:              &only,
			DisableCompression:     true,
			IdleConnTimeout:        idle,
			MaxResponseHeaderBytes: maxHeader,
			// A service is not pinged: servers of gRPC end connections that ask often.
			HTTP2: &http.HTTP2Config{MaxReceiveBufferPerStream: 4 * streamWindow, WriteByteTimeout: stallTime},
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				to, _ := ctx.Value(grpcKey{}).(grpcTarget)
				c, err := dial(ctx, to.destination, nil)
				if err != nil {
					return nil, err
				}
				return &grpcConn{Conn: c, grpcSocket: to.socket}, nil
			},
		},
	}
}

// of is the way to a destination.
func (p *grpcPool) of(to config.Destination) http.RoundTripper { return &grpcWay{p, to} }

type grpcWay struct {
	pool *grpcPool
	to   config.Destination
}

// RoundTrip is http.RoundTripper's. A call of which nothing was sent, since its
// connection had just ended, goes over another one.
func (w *grpcWay) RoundTrip(r *http.Request) (*http.Response, error) {
	body := r.Body
	for left := grpcSpread; ; left-- {
		c, err := w.pool.take(r.Context(), w.to)
		if err != nil {
			if body != nil {
				_ = body.Close()
			}
			return nil, &diallingError{err}
		}
		if body != nil {
			r.Body = io.NopCloser(body) // the caller closes it
		}
		var sent atomic.Bool
		trace := &httptrace.ClientTrace{WroteHeaders: func() { sent.Store(true) }}
		response, err := c.RoundTrip(r.WithContext(httptrace.WithClientTrace(r.Context(), trace)))
		if err != nil {
			err = c.explain(err)
		}
		if err == nil || sent.Load() || left == 0 || r.Context().Err() != nil {
			return response, err
		}
	}
}

// take returns a connection to the destination with room for one call, which is
// kept for the caller.
func (p *grpcPool) take(ctx context.Context, to config.Destination) (*grpcConnection, error) {
	for {
		p.mu.Lock()
		s := p.service(to)
		c := s.next()
		waitFor := s.dialling
		switch {
		case waitFor != nil && c == nil:
		case waitFor == nil && s.wantsMore(c != nil):
			return p.dial(ctx, to, s, c)
		default:
			p.mu.Unlock()
			if c == nil {
				return nil, listener.WithReason(listener.ReasonLimit, fmt.Errorf("dialling %s: %w", to, errGRPCFull))
			}
			return c, nil
		}
		p.mu.Unlock()
		select {
		case <-waitFor.done:
		case <-ctx.Done():
			return nil, fmt.Errorf("dialling %s: %w", to, ctx.Err())
		}
		if waitFor.err != nil {
			return nil, waitFor.err
		}
	}
}

var errGRPCFull = fmt.Errorf("all %d connections to the service have as many calls as it accepts on each", maxGRPCConnections)

// dial makes a connection. Where that fails, it returns other if there is one.
// The caller holds mu, which is given back.
func (p *grpcPool) dial(ctx context.Context, to config.Destination, s *grpcService, other *grpcConnection) (*grpcConnection, error) {
	d := &grpcDialling{done: make(chan struct{})}
	s.dialling = d
	p.mu.Unlock()
	c := &grpcConnection{since: time.Now(), socket: newGRPCSocket()}
	var err error
	c.ClientConn, err = p.transport.NewClientConn(context.WithValue(ctx, grpcKey{}, grpcTarget{to, c.socket}), "http", "service:80")
	if err == nil {
		if err = c.Reserve(); err != nil {
			_ = c.Close() // it takes no call, and nobody else will close it
		}
	}
	if err != nil {
		err = c.explain(err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	s.dialling = nil
	defer close(d.done)
	if ctx.Err() == nil {
		d.err = err
	}
	switch {
	case err != nil && other != nil:
		s.spreadAfter = time.Now().Add(spreadAgain)
		return other, nil
	case err != nil:
		return nil, err
	case other != nil:
		other.Release()
	}
	if p.draining || p.services[to] != s {
		defer retire(c.ClientConn) // what it was made for is over, but for this call
		return c, nil
	}
	s.connections = append(s.connections, c)
	return c, nil
}

// service returns what there is of a destination. The caller holds mu.
func (p *grpcPool) service(to config.Destination) *grpcService {
	s := p.services[to]
	if s == nil {
		for of, other := range p.services {
			if other.prune(); len(other.connections) == 0 && other.dialling == nil {
				delete(p.services, of)
			}
		}
		s = &grpcService{}
		p.services[to] = s
	}
	return s
}

// prune forgets connections that have ended, and those that have had their time.
func (s *grpcService) prune() {
	s.connections = slices.DeleteFunc(s.connections, func(c *grpcConnection) bool {
		if c.Err() != nil {
			return true
		}
		old := time.Since(c.since) > grpcMaxAge
		if old {
			retire(c.ClientConn)
		}
		return old
	})
}

// next returns the connection whose turn it is, with room for a call, or nil.
func (s *grpcService) next() *grpcConnection {
	s.prune()
	for i, c := range s.connections {
		if c.Reserve() == nil {
			s.connections = append(slices.Delete(s.connections, i, i+1), c)
			return c
		}
	}
	return nil
}

// wantsMore reports whether a further connection is to be made, where there is
// one to use or not.
func (s *grpcService) wantsMore(usable bool) bool {
	if usable {
		return len(s.connections) < grpcSpread && time.Now().After(s.spreadAfter)
	}
	return len(s.connections) < maxGRPCConnections
}

// retire closes a connection once it has no call.
func retire(c *http.ClientConn) {
	c.SetStateHook(func(c *http.ClientConn) {
		if c.InFlight() == 0 {
			_ = c.Close()
		}
	})
	if c.InFlight() == 0 {
		_ = c.Close()
	}
}

// reset has no connection get further calls, as when they stand for what is in
// force no more. With drain, none is kept from then on.
func (p *grpcPool) reset(drain bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.draining = p.draining || drain
	for _, s := range p.services {
		for _, c := range s.connections {
			retire(c.ClientConn)
		}
	}
	clear(p.services)
}
