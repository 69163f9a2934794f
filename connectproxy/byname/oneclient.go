package byname

import (
	"context"
	"io"
	"net"
	"sync"
)

// oneClient is the listener of a server for a client that is connected already.
// It is over when the client is.
type oneClient struct {
	// ctx is done when the client is to be served no more.
	ctx    context.Context
	client net.Conn
	first  []byte // what has been read of it
	given  bool
	over   sync.Once
	closed chan struct{}
}

func (o *oneClient) Accept() (net.Conn, error) {
	if o.given {
		<-o.closed
		return nil, io.EOF
	}
	o.given = true
	return &accepted{o.client, o}, nil
}

// Close is net.Listener's, and called when all is over or a server is closed.
func (o *oneClient) Close() error { return nil }

func (o *oneClient) Addr() net.Addr { return o.client.LocalAddr() }

// accepted tells its listener of its end.
type accepted struct {
	net.Conn
	of *oneClient
}

func (a *accepted) Read(b []byte) (int, error) {
	if len(a.of.first) == 0 {
		return a.Conn.Read(b)
	}
	n := copy(b, a.of.first)
	if a.of.first = a.of.first[n:]; len(a.of.first) == 0 {
		a.of.first = nil
	}
	return n, nil
}

// CloseWrite ends the sending direction. The HTTP server does so before it closes a
// connection on which the client may still send: a reset would take its answer away.
func (a *accepted) CloseWrite() error {
	if w, ok := a.Conn.(interface{ CloseWrite() error }); ok {
		return w.CloseWrite()
	}
	return nil
}

func (a *accepted) Close() error {
	err := a.Conn.Close()
	a.of.over.Do(func() { close(a.of.closed) })
	return err
}
