package micro

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

// client is the connection of a client that is served, and the listener of an
// HTTP server for it alone, which is over when the client is.
type client struct {
	net.Conn
	sent    []byte // what has been read of it
	session *session
	given   bool
	// idle is since when there is no request, nil while there is one: from the end of
	// its header to that of its answer.
	idle atomic.Pointer[time.Time]
	// gone is done when the client is to be served no more, and end ends it. They are
	// there once it is served.
	gone context.Context
	end  context.CancelFunc
}

var _ net.Listener = (*clientListener)(nil)

// clientListener is a client as the listener of it.
type clientListener struct{ *client }

// Accept returns the client, and then waits for its end.
func (l *clientListener) Accept() (net.Conn, error) {
	if l.given {
		<-l.gone.Done()
		return nil, io.EOF
	}
	l.given = true
	return l.client, nil
}

// Close does nothing: the connection is closed by who has accepted it.
func (l *clientListener) Close() error { return nil }

// Addr is where the client has connected to.
func (l *clientListener) Addr() net.Addr { return l.LocalAddr() }

// Read is net.Conn's.
func (c *client) Read(b []byte) (int, error) {
	if len(c.sent) == 0 {
		return c.Conn.Read(b)
	}
	n := copy(b, c.sent)
	if c.sent = c.sent[n:]; len(c.sent) == 0 {
		c.sent = nil
	}
	return n, nil
}

// Close closes the connection and those that were kept for it, and ends the calls
// that are under way for it.
func (c *client) Close() error {
	c.end()
	err := c.Conn.Close()
	c.session.close()
	return err
}

// CloseWrite ends the sending direction. The HTTP server does so before it closes
// a connection on which the client may still send: a reset would take its answer
// away.
func (c *client) CloseWrite() error {
	if w, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return w.CloseWrite()
	}
	return nil
}

// clientContextKey is the key of the *client in the context of its requests.
type clientContextKey struct{}

// withClient has a server's requests know their client, and their context be done
// when it is closed: net/http sees the end of a connection only once the body of the
// request has been read, which is up to the service.
func withClient(ctx context.Context, conn net.Conn) context.Context {
	c := conn.(*client)
	ctx, cancel := context.WithCancel(context.WithValue(ctx, clientContextKey{}, c))
	context.AfterFunc(c.gone, cancel)
	return ctx
}

// followConn has a session wait for the goroutine of an HTTP server that has its
// client, which may outlast the connection: it gives clients time to read an answer.
func followConn(conn net.Conn, state http.ConnState) {
	c := conn.(*client)
	switch running := &c.session.running; state {
	case http.StateNew:
		running.Add(1)
	case http.StateActive:
		c.idle.Store(nil)
	case http.StateIdle:
		c.rest()
	case http.StateClosed, http.StateHijacked:
		running.Done()
	}
}

func clientOf(r *http.Request) *client { return r.Context().Value(clientContextKey{}).(*client) }

func (s *Server) newClient(conn net.Conn, sent []byte) *client {
	c := &client{Conn: conn, sent: sent, session: &session{server: s, client: conn.RemoteAddr()}}
	c.rest()
	return c
}

// rest notes that there is no request from now on.
func (c *client) rest() {
	now := time.Now()
	c.idle.Store(&now)
}

// idleSince is since when there is no request; zero while there is one.
func (c *client) idleSince() time.Time {
	if t := c.idle.Load(); t != nil {
		return *t
	}
	return time.Time{}
}

// serve answers a client until one of the two, or the proxy, has enough.
func (s *Server) serve(ctx context.Context, c *client) {
	c.gone, c.end = context.WithCancel(ctx)
	defer context.AfterFunc(ctx, func() { _ = c.Close() })()
	server := s.http
	if bytes.HasPrefix(c.sent, []byte(preface)) {
		server = s.grpcServer
	}
	_ = server.Serve(&clientListener{c})
	_ = c.Close()
	c.session.running.Wait()
}
