package listenertest

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
)

// Server accepts on a loopback port and counts.
type Server struct {
	ln       net.Listener
	accepted atomic.Int64

	mu     sync.Mutex
	conns  map[net.Conn]struct{}
	closed bool
	all    sync.WaitGroup
}

// NewServer starts a server that runs handle for each connection and closes the
// connection afterwards. The test's end closes what is open and waits.
func NewServer(t testing.TB, handle func(*net.TCPConn)) *Server {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("listening: %v", err)
	}
	s := &Server{ln: ln, conns: make(map[net.Conn]struct{})}
	s.all.Go(func() { s.serve(handle) })
	t.Cleanup(s.Close)
	return s
}

// NewEcho starts a server that sends back what it gets, and its end.
func NewEcho(t testing.TB) *Server {
	t.Helper()
	return NewServer(t, func(c *net.TCPConn) {
		_, _ = io.Copy(c, c)
		_ = c.CloseWrite()
	})
}

// NewSink starts a server that reads to the end and sends nothing.
func NewSink(t testing.TB) *Server {
	t.Helper()
	return NewServer(t, func(c *net.TCPConn) { _, _ = io.Copy(io.Discard, c) })
}

// Addr is host:port.
func (s *Server) Addr() string { return s.ln.Addr().String() }

// Accepted is the number of connections so far.
func (s *Server) Accepted() int { return int(s.accepted.Load()) }

// Close stops the server, closes its connections and waits for them.
func (s *Server) Close() {
	_ = s.ln.Close()
	s.mu.Lock()
	s.closed = true
	for c := range s.conns {
		_ = c.Close()
	}
	s.mu.Unlock()
	s.all.Wait()
}

func (s *Server) serve(handle func(*net.TCPConn)) {
	for {
		c, err := s.ln.Accept()
		if err != nil {
			return
		}
		s.accepted.Add(1)
		s.mu.Lock()
		s.conns[c] = struct{}{}
		if s.closed {
			_ = c.Close()
		}
		s.mu.Unlock()
		s.all.Go(func() {
			handle(c.(*net.TCPConn))
			s.mu.Lock()
			delete(s.conns, c)
			s.mu.Unlock()
			_ = c.Close()
		})
	}
}

// Refusing is an address that refuses connections until the test ends: its port is
// that of a connection, on which nobody can listen meanwhile.
func Refusing(t testing.TB) string {
	t.Helper()
	c, _ := TCPPair(t)
	return c.LocalAddr().String()
}

// TCPPair gives both ends of a loopback connection. Unlike net.Pipe it has
// buffers, half-closes and resets. The test's end closes both.
func TCPPair(t testing.TB) (dialled, accepted *net.TCPConn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("listening: %v", err)
	}
	defer ln.Close()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatalf("dialling: %v", err)
	}
	t.Cleanup(func() { _ = c.Close() })
	s, err := ln.Accept()
	if err != nil {
		t.Fatalf("accepting: %v", err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return c.(*net.TCPConn), s.(*net.TCPConn)
}
