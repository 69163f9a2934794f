package connectproxy

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"connect-proxy/connectproxy/agenttest/fakeagent"
	"connect-proxy/listener"
	"connect-proxy/listener/secure"
	"connect-proxy/upstream"
)

// running starts the identity of a service on the agent.
func running(t testing.TB, o identityOptions) *identity {
	t.Helper()
	i := newIdentity(o)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- i.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Run returned %v", err)
		}
	})
	return i
}

func ready(t testing.TB, i *identity) *identity {
	t.Helper()
	select {
	case <-i.Ready():
	case <-time.After(10 * time.Second):
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
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
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
func visit(t testing.TB, client *identity, i *server) (resumed bool, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
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
			web := ready(t, running(t, identityOptions{Client: agent.Client(""), Service: "web"}))
			api := ready(t, running(t, identityOptions{Client: agent.Client(""), Service: "api"}))
			web.current.Load().server(serverTLS{}).TLS.MaxVersion = max
			here := serve(t, "web", web.Handshake(serverTLS{}))
			there := serve(t, "web", web.Handshake(serverTLS{}))
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
			web := ready(t, running(t, identityOptions{Client: agent.Client(""), Service: "web"}))
			api := ready(t, running(t, identityOptions{Client: agent.Client(""), Service: "api"}))
			g := web.current.Load()
			g.server(serverTLS{}).TLS.MaxVersion = max
			here := serve(t, "web", web.Handshake(serverTLS{}))
			if _, err := visit(t, api, here); err != nil {
				t.Fatal(err)
			}
			// The roots are replaced, and nothing else: neither configuration
			// nor ticket keys.
			other := fakeagent.New(t, fakeagent.Options{})
			strange := ready(t, running(t, identityOptions{Client: other.Client(""), Service: "web"}))
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
	web := ready(t, running(t, identityOptions{Client: agent.Client(""), Service: "web"}))
	api := ready(t, running(t, identityOptions{Client: agent.Client(""), Service: "api"}))
	here := serve(t, "web", web.Handshake(serverTLS{}))
	visited := func(want bool, when string) {
		t.Helper()
		if resumed, err := visit(t, api, here); err != nil || resumed != want {
			t.Errorf("%s: resumed %t, %v", when, resumed, err)
		}
	}
	visited(false, "first")
	visited(true, "second")
	agent.RenewLeaf("web")
	reaches(t, web, 2)
	visited(false, "with a new leaf of the server's")
	visited(true, "again")
	agent.RenewLeaf("api")
	reaches(t, api, 2)
	visited(false, "with a new leaf of the client's")
}

// reaches waits until there have been that many.
func reaches(t testing.TB, i *identity, n uint64) {
	t.Helper()
	eventually(t, func() bool { return i.Status().Generation >= n })
}

func eventually(t testing.TB, cond func() bool) {
	t.Helper()
	waitFor(t, 10*time.Second, cond)
}

func waitFor(t testing.TB, limit time.Duration, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(limit); !cond(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatal("waited in vain")
		}
	}
}

func TestTicketsAreGoodForTheirOwnConfigurationAlone(t *testing.T) {
	agent := fakeagent.New(t, fakeagent.Options{})
	web := ready(t, running(t, identityOptions{Client: agent.Client(""), Service: "web"}))
	api := ready(t, running(t, identityOptions{Client: agent.Client(""), Service: "api"}))
	loose := serve(t, "web", web.Handshake(serverTLS{}))
	strict := serve(t, "web", web.Handshake(serverTLS{MinVersion: tls.VersionTLS13}))
	if _, err := visit(t, api, loose); err != nil {
		t.Fatal(err)
	}
	g := api.current.Load()
	g.client(strict.ep).session.last.Store(g.client(loose.ep).session.last.Load())
	if resumed, err := visit(t, api, strict); resumed || err != nil {
		t.Errorf("resumed %t, %v", resumed, err)
	}
	if resumed, err := visit(t, api, strict); !resumed || err != nil {
		t.Errorf("with a ticket of its own: resumed %t, %v", resumed, err)
	}
}

func TestATicketOfAnotherProgramIsNotKept(t *testing.T) {
	agent := fakeagent.New(t, fakeagent.Options{})
	api := ready(t, running(t, identityOptions{Client: agent.Client(""), Service: "api"}))
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
	if api.current.Load().client(here.ep).session.last.Load() != nil {
		t.Error("the ticket was kept")
	}
}

func TestATicketWithoutTheMarkIsNotTaken(t *testing.T) {
	cfg := &tls.Config{}
	markTickets(cfg)
	ticket, err := cfg.WrapSession(tls.ConnectionState{}, &tls.SessionState{})
	if err != nil || !strings.HasPrefix(string(ticket), ticketMark) {
		t.Fatalf("wrapped as %q, %v", ticket, err)
	}
	for name, label := range map[string][]byte{
		"without the mark": ticket[len(ticketMark):], "empty": nil, "the mark alone": []byte(ticketMark),
		"altered": append(ticket[:len(ticket)-1:len(ticket)-1], ticket[len(ticket)-1]^1),
	} {
		if s, err := cfg.UnwrapSession(label, tls.ConnectionState{}); s != nil || err != nil {
			t.Errorf("%s: %v, %v", name, s, err)
		}
	}
}
