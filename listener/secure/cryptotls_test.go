package secure

import (
	"crypto/tls"
	"errors"
	"io"
	mrand "math/rand/v2"
	"strings"
	"testing"

	"connect-proxy/listener/listenertest"
)

// stepsOf keeps the labels of a key log, and what else a handshake does, in its
// order.
type stepsOf struct{ steps []string }

func (s *stepsOf) Write(p []byte) (int, error) {
	label, _, _ := strings.Cut(string(p), " ")
	s.steps = append(s.steps, label)
	return len(p), nil
}

// watch has s told of the secrets that cfg's handshake reports, of the moment at
// which the peer's certificate is judged, and of the tickets that are written.
func (s *stepsOf) watch(cfg *tls.Config) {
	log, wrap := cfg.KeyLogWriter, cfg.WrapSession
	cfg.KeyLogWriter = s
	if log != nil {
		cfg.KeyLogWriter = io.MultiWriter(log, s)
	}
	cfg.VerifyConnection = func(tls.ConnectionState) error {
		s.steps = append(s.steps, "peer")
		return nil
	}
	if wrap != nil {
		cfg.WrapSession = func(cs tls.ConnectionState, ss *tls.SessionState) ([]byte, error) {
			s.steps = append(s.steps, "ticket")
			return wrap(cs, ss)
		}
	}
}

// What is taken over from crypto/tls is promised nowhere. This holds the
// version of Go at hand to it; should it change, connections stay with
// crypto/tls (the test below), and this one says why.
func TestCryptoTLSReportsSecretsAndTicketsAsIsExpectedOfIt(t *testing.T) {
	server, client := configs(t)
	for i, resumed := range []bool{false, true, true} {
		a, b := listenertest.TCPPair(t)
		var served, called stepsOf
		theirsCfg := client.Clone()
		called.watch(theirsCfg)
		theirs := tls.Client(a, theirsCfg)
		ours, oursCfg := own(server).newConn(b, false)
		served.watch(oursCfg)
		ours.Conn = tls.Server(ours.transport, oursCfg)
		done := make(chan error, 1)
		go func() { done <- theirs.Handshake() }()
		if err := errors.Join(ours.handshake(t.Context()), <-done); err != nil {
			t.Fatal(err)
		}
		const handshake = "CLIENT_HANDSHAKE_TRAFFIC_SECRET SERVER_HANDSHAKE_TRAFFIC_SECRET "
		const traffic = "CLIENT_TRAFFIC_SECRET_0 SERVER_TRAFFIC_SECRET_0"
		if got := strings.Join(called.steps, " "); got != handshake+"peer "+traffic {
			t.Errorf("connection %d: the client's steps are %s", i, got)
		}
		// A server has all secrets before it reads the client's certificate. It
		// waits for that with its ticket, unless the session tells who calls.
		want := handshake + traffic + " peer ticket"
		if resumed {
			want = handshake + traffic + " ticket peer"
		}
		if got := strings.Join(served.steps, " "); got != want {
			t.Errorf("connection %d: the server's steps are %s, want %s", i, got, want)
		}
		if got := ours.ConnectionState().DidResume; got != resumed {
			t.Errorf("connection %d: resumed is %v", i, got)
		}
		if !ours.Detachable() || ours.tickets != 1 || ours.records.Load().out.Sequence() != 1 {
			t.Errorf("connection %d: detachable %v, %d tickets", i, ours.Detachable(), ours.tickets)
		}
		exchangeOverCryptoTLS(t, theirs, detach(t, ours))
	}
}

func TestAPeerMayAskForANewKeyAfterOurEnd(t *testing.T) {
	for name, ownRecords := range map[string]bool{"records of crypto/tls": false, "not detached": true} {
		server, client := configs(t)
		a, b := listenertest.TCPPair(t)
		done := make(chan error, 1)
		var ours *Conn
		go func() {
			var err error
			ours, err = (&Config{TLS: server, OwnRecords: ownRecords}).Server(t.Context(), b)
			done <- err
		}()
		app, err := own(client).Client(t.Context(), a)
		if err == nil {
			err = app.Flush()
		}
		if err = errors.Join(err, <-done); err != nil {
			t.Fatal(err)
		}
		if err := ours.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		theirs := detach(t, app)
		sealed := theirs.Records.Seal(nil, []byte("before "))
		for _, ask := range []bool{true, false, true} {
			sealed = theirs.Records.Seal(theirs.Records.Update(sealed, ask), []byte("after "))
		}
		if _, err := theirs.Raw.Write(theirs.Records.CloseNotify(sealed)); err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(ours); err != nil || string(got) != "before after after after " {
			t.Errorf("%s: %q, %v", name, got, err)
		}
		if got, err := theirs.readAll(mrand.New(mrand.NewPCG(1, 2))); err != nil || len(got) > 0 || len(theirs.src) > 0 {
			t.Errorf("%s: the peer got %q and %d bytes more, %v", name, got, len(theirs.src), err)
		}
	}
}

// A ticket holds the client's certificates, and may need several records.
func TestATicketInSeveralRecordsIsCounted(t *testing.T) {
	server, client := configs(t)
	server.WrapSession = func(cs tls.ConnectionState, ss *tls.SessionState) ([]byte, error) {
		return make([]byte, 48<<10), nil
	}
	server.UnwrapSession = func([]byte, tls.ConnectionState) (*tls.SessionState, error) { return nil, nil }
	ours, theirs := shake(t, server, client, true)
	if ours.tickets != 4 {
		t.Fatalf("%d records", ours.tickets)
	}
	exchangeOverCryptoTLS(t, theirs, detach(t, ours))
}

// exchangeOverCryptoTLS sends both ways.
func exchangeOverCryptoTLS(t *testing.T, theirs *tls.Conn, ours *detached) {
	t.Helper()
	if err := ours.write([]byte("down")); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 4)
	if _, err := io.ReadFull(theirs, got); err != nil || string(got) != "down" {
		t.Fatalf("%q, %v", got, err)
	}
}

// With secrets that are not the connection's, or with tickets that were not
// counted, a connection stays with crypto/tls and works.
func TestWhereCryptoTLSDoesOtherwiseItKeepsTheConnection(t *testing.T) {
	for name, change := range map[string]func(c *Conn, shared, own *tls.Config){
		"tickets are not counted":   func(_ *Conn, shared, own *tls.Config) { own.WrapSession = shared.EncryptTicket },
		"a ticket too many":         func(c *Conn, _, _ *tls.Config) { c.tickets = 1 },
		"no secrets":                func(_ *Conn, _, own *tls.Config) { own.KeyLogWriter = io.Discard },
		"the secrets are exchanged": func(c *Conn, _, own *tls.Config) { own.KeyLogWriter = exchanged{&c.secrets} },
		"they come twice":           func(c *Conn, _, own *tls.Config) { own.KeyLogWriter = io.MultiWriter(&c.secrets, &c.secrets) },
	} {
		t.Run(name, func(t *testing.T) {
			server, client := configs(t)
			a, b := listenertest.TCPPair(t)
			ours, cfg := own(server).newConn(b, false)
			change(ours, server, cfg)
			ours.Conn = tls.Server(ours.transport, cfg)
			theirs := tls.Client(a, client)
			done := make(chan error, 1)
			go func() { done <- theirs.Handshake() }()
			if err := errors.Join(ours.handshake(t.Context()), <-done); err != nil {
				t.Fatal(err)
			}
			if _, ok := ours.Detach(); ok {
				t.Fatal("detached")
			}
			go func() { _, _ = ours.Write([]byte("down")) }()
			got := make([]byte, 4)
			if _, err := io.ReadFull(theirs, got); err != nil || string(got) != "down" {
				t.Fatalf("%q, %v", got, err)
			}
		})
	}
}

// exchanged gives each secret out as the other.
type exchanged struct{ to *secrets }

func (e exchanged) Write(p []byte) (int, error) {
	line := string(p)
	switch {
	case strings.HasPrefix(line, "CLIENT_TRAFFIC"):
		line = strings.Replace(line, "CLIENT", "SERVER", 1)
	case strings.HasPrefix(line, "SERVER_TRAFFIC"):
		line = strings.Replace(line, "SERVER", "CLIENT", 1)
	}
	_, err := e.to.Write([]byte(line))
	return len(p), err
}
