package identity

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"connect-proxy/connectproxy/agenttest/fakeagent"
	"connect-proxy/listener"
	"connect-proxy/listener/listenertest"
	"connect-proxy/listener/secure"
	"connect-proxy/upstream"
)

// patience is how long a test waits for what takes a moment, on a machine that does
// much else.
const patience = 30 * time.Second

// running starts the identity of a service on the agent.
func running(t testing.TB, o Options) *Identity {
	t.Helper()
	i := New(o)
	listenertest.Run(t, i.Run)
	return i
}

func ready(t testing.TB, i *Identity) *Identity {
	t.Helper()
	select {
	case <-i.Ready():
	case <-time.After(patience):
		t.Fatalf("not ready: %s", i.Problem())
	}
	return i
}

// server is a server that shakes hands with whoever comes and says hello.
type server struct {
	ep       upstream.Endpoint
	sessions chan listener.Session // of handshakes that were good
	refused  chan error            // and why others were not
}

func serve(t testing.TB, service string, h listener.HandshakeFunc) *server {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	i := &server{
		ep:       upstream.Endpoint{Address: ln.Addr().String(), Identity: upstream.Identity{Service: service, Datacenter: "dc1"}},
		sessions: make(chan listener.Session, 100), refused: make(chan error, 100),
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			raw, err := ln.Accept()
			if err != nil {
				return
			}
			i.answer(h, raw)
		}
	}()
	t.Cleanup(func() { ln.Close(); <-done })
	return i
}

func (i *server) answer(h listener.HandshakeFunc, raw net.Conn) {
	defer raw.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s, err := h(ctx, raw)
	if err != nil {
		i.refused <- err
		return
	}
	_, _ = s.Conn.Write([]byte("hello"))
	_ = s.Conn.(*secure.Conn).CloseWrite()
	i.sessions <- s
}

// visit dials the instance and reads what it says, so that a ticket is taken.
func visit(t testing.TB, client *Identity, i *server) (resumed bool, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c, err := client.Dial(ctx, i.ep)
	if err != nil {
		return false, err
	}
	defer c.Close()
	said, err := io.ReadAll(c)
	if err != nil {
		return false, err
	}
	if string(said) != "hello" {
		t.Errorf("the server said %q", said)
	}
	return c.(*secure.Conn).ConnectionState().DidResume, nil
}

func TestASecondConnectionToAnInstanceResumes(t *testing.T) {
	for name, max := range map[string]uint16{"TLS 1.2": tls.VersionTLS12, "TLS 1.3": tls.VersionTLS13} {
		t.Run(name, func(t *testing.T) {
			agent := fakeagent.New(t, fakeagent.Options{})
			web := ready(t, running(t, Options{Client: agent.Client(""), Service: "web"}))
			api := ready(t, running(t, Options{Client: agent.Client(""), Service: "api"}))
			web.current.Load().server(ServerTLS{}).TLS.MaxVersion = max
			here := serve(t, "web", web.Handshake(ServerTLS{}))
			there := serve(t, "web", web.Handshake(ServerTLS{}))
			for n, want := range []bool{false, true, true} {
				resumed, err := visit(t, api, here)
				if err != nil {
					t.Fatal(err)
				}
				s := <-here.sessions
				if resumed != want || s.Resumed != want {
					t.Errorf("connection %d: resumed %t, says the server %t", n, resumed, s.Resumed)
				}
				if s.Peer != agent.URI("api") || s.Serial != api.Status().LeafSerial {
					t.Errorf("connection %d: peer %s, serial %s", n, s.Peer, s.Serial)
				}
				if got := s.Conn.(*secure.Conn).ConnectionState().Version; got != max {
					t.Errorf("connection %d: version %x", n, got)
				}
			}
			if resumed, err := visit(t, api, there); resumed || err != nil {
				t.Errorf("another instance: resumed %t, %v", resumed, err)
			}
		})
	}
}

func TestAResumedSessionIsVerifiedUnderTodaysRoots(t *testing.T) {
	for name, max := range map[string]uint16{"TLS 1.2": tls.VersionTLS12, "TLS 1.3": tls.VersionTLS13} {
		t.Run(name, func(t *testing.T) {
			agent := fakeagent.New(t, fakeagent.Options{})
			web := ready(t, running(t, Options{Client: agent.Client(""), Service: "web"}))
			api := ready(t, running(t, Options{Client: agent.Client(""), Service: "api"}))
			g := web.current.Load()
			g.server(ServerTLS{}).TLS.MaxVersion = max
			here := serve(t, "web", web.Handshake(ServerTLS{}))
			if _, err := visit(t, api, here); err != nil {
				t.Fatal(err)
			}
			// The roots are replaced, and nothing else: neither configuration
			// nor ticket keys.
			other := fakeagent.New(t, fakeagent.Options{})
			strange := ready(t, running(t, Options{Client: other.Client(""), Service: "web"}))
			g.verify = strange.verify
			if resumed, err := visit(t, api, here); err == nil {
				t.Errorf("accepted, resumed %t", resumed)
			}
			if err := <-here.refused; !strings.Contains(err.Error(), "verifying the peer's certificate") {
				t.Errorf("refused with %v", err)
			}
		})
	}
}

func TestANewGenerationResumesNothing(t *testing.T) {
	agent := fakeagent.New(t, fakeagent.Options{})
	web := ready(t, running(t, Options{Client: agent.Client(""), Service: "web"}))
	api := ready(t, running(t, Options{Client: agent.Client(""), Service: "api"}))
	here := serve(t, "web", web.Handshake(ServerTLS{}))
	visited := func(want bool, when string) {
		t.Helper()
		if resumed, err := visit(t, api, here); err != nil || resumed != want {
			t.Errorf("%s: resumed %t, %v", when, resumed, err)
		}
	}
	visited(false, "first")
	visited(true, "second")
	agent.RenewLeaf("web")
	web.leaf.Refresh() // by the clock it is asked for twice a minute
	reaches(t, web, 2)
	visited(false, "with a new leaf of the server's")
	visited(true, "again")
	agent.RenewLeaf("api")
	api.leaf.Refresh()
	reaches(t, api, 2)
	visited(false, "with a new leaf of the client's")
}

// reaches waits until there have been that many, and asks for the newest leaf
// meanwhile.
func reaches(t testing.TB, i *Identity, n uint64) {
	t.Helper()
	i.leaf.Refresh()
	listenertest.Eventually(t, "it has renewed its certificates", func() bool { return i.Status().Generation >= n })
}

func TestTicketsAreGoodForTheirOwnConfigurationAlone(t *testing.T) {
	agent := fakeagent.New(t, fakeagent.Options{})
	web := ready(t, running(t, Options{Client: agent.Client(""), Service: "web"}))
	api := ready(t, running(t, Options{Client: agent.Client(""), Service: "api"}))
	loose := serve(t, "web", web.Handshake(ServerTLS{}))
	strict := serve(t, "web", web.Handshake(ServerTLS{MinVersion: tls.VersionTLS13}))
	if _, err := visit(t, api, loose); err != nil {
		t.Fatal(err)
	}
	g := api.current.Load()
	last, _ := g.client(loose.ep).Session.Get("")
	g.client(strict.ep).Session.Put("", last)
	if resumed, err := visit(t, api, strict); resumed || err != nil {
		t.Errorf("resumed %t, %v", resumed, err)
	}
	if resumed, err := visit(t, api, strict); !resumed || err != nil {
		t.Errorf("with a ticket of its own: resumed %t, %v", resumed, err)
	}
}

func TestATicketOfAnotherProgramIsNotKept(t *testing.T) {
	agent := fakeagent.New(t, fakeagent.Options{})
	api := ready(t, running(t, Options{Client: agent.Client(""), Service: "api"}))
	foreign := &tls.Config{Certificates: []tls.Certificate{agent.Certificate("web")}, ClientAuth: tls.RequireAnyClientCert}
	here := serve(t, "web", func(ctx context.Context, raw net.Conn) (listener.Session, error) {
		c, err := (&secure.Config{TLS: foreign}).Server(ctx, raw)
		return listener.Session{Conn: c}, err
	})
	for range 3 {
		if resumed, err := visit(t, api, here); resumed || err != nil {
			t.Errorf("resumed %t, %v", resumed, err)
		}
	}
	if _, kept := api.current.Load().client(here.ep).Session.Get(""); kept {
		t.Error("the ticket was kept")
	}
}
