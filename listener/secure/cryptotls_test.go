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

// linesOf keeps the labels of a key log.
type linesOf struct{ labels []string }

func (l *linesOf) Write(p []byte) (int, error) {
	label, _, _ := strings.Cut(string(p), " ")
	l.labels = append(l.labels, label)
	return len(p), nil
}

// What is taken over from crypto/tls is promised nowhere. This holds the
// version of Go at hand to it; should it change, connections stay with
// crypto/tls (the test below), and this one says why.
func TestCryptoTLSReportsSecretsAndTicketsAsIsExpectedOfIt(t *testing.T) {
	server, client := configs(t)
	for i, resumed := range []bool{false, true, true} {
		a, b := listenertest.TCPPair(t)
		var log linesOf
		cfg := client.Clone()
		cfg.KeyLogWriter = &log
		done := make(chan error, 1)
		theirs := tls.Client(a, cfg)
		go func() { done <- theirs.Handshake() }()
		ours, err := own(server).Server(t.Context(), b)
		if err = errors.Join(err, <-done); err != nil {
			t.Fatal(err)
		}
		want := "CLIENT_HANDSHAKE_TRAFFIC_SECRET SERVER_HANDSHAKE_TRAFFIC_SECRET CLIENT_TRAFFIC_SECRET_0 SERVER_TRAFFIC_SECRET_0"
		if got := strings.Join(log.labels, " "); got != want {
			t.Errorf("connection %d: the key log has %s", i, got)
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
