package etcd

import (
	"io"
	"net"
	"sync"
	"testing"
)

// gate is a way to etcd that can be cut, or let through nothing.
type gate struct {
	ln   net.Listener
	work sync.WaitGroup

	mu     sync.Mutex // guards what follows
	target string
	closed bool
	held   chan struct{} // closed while bytes pass
	open   map[net.Conn]bool
}

func newGate(t testing.TB, target string) *gate {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := &gate{ln: ln, target: target, held: make(chan struct{}), open: make(map[net.Conn]bool)}
	close(g.held)
	g.work.Go(g.serve)
	t.Cleanup(func() {
		_ = ln.Close()
		g.pass()
		g.cut()
		g.work.Wait()
	})
	return g
}

func (g *gate) endpoint() string { return "http://" + g.ln.Addr().String() }

func (g *gate) serve() {
	for {
		c, err := g.ln.Accept()
		if err != nil {
			return
		}
		g.work.Go(func() { g.connect(c) })
	}
}

func (g *gate) connect(client net.Conn) {
	defer client.Close()
	g.mu.Lock()
	target, closed := g.target, g.closed
	g.open[client] = true
	g.mu.Unlock()
	if closed {
		return
	}
	server, err := net.Dial("tcp", target)
	if err != nil {
		return
	}
	var both sync.WaitGroup
	both.Go(func() { g.copy(server, client) })
	g.copy(client, server)
	both.Wait()
	g.mu.Lock()
	delete(g.open, client)
	g.mu.Unlock()
}

func (g *gate) copy(to, from net.Conn) {
	defer to.Close()
	defer from.Close()
	buf := make([]byte, 4096)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		g.mu.Lock()
		held := g.held
		g.mu.Unlock()
		<-held
		if _, err := to.Write(buf[:n]); err != nil && err != io.EOF {
			return
		}
	}
}

// cut ends all connections.
func (g *gate) cut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for c := range g.open {
		_ = c.Close()
	}
}

// refuse ends all connections and those to come.
func (g *gate) refuse() {
	g.mu.Lock()
	g.closed = true
	g.mu.Unlock()
	g.cut()
}

// leadTo sends the connections to come elsewhere, and ends the others.
func (g *gate) leadTo(target string) {
	g.mu.Lock()
	g.target, g.closed = target, false
	g.mu.Unlock()
	g.cut()
}

// hold lets no byte pass until pass is called.
func (g *gate) hold() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.held = make(chan struct{})
}

func (g *gate) pass() {
	g.mu.Lock()
	defer g.mu.Unlock()
	select {
	case <-g.held:
	default:
		close(g.held)
	}
}
