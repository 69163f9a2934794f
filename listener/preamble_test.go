package listener_test

import (
	"context"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"connect-proxy/listener"
	"connect-proxy/listener/listenertest"
	"connect-proxy/listener/relay"
	"connect-proxy/listener/secure"
)

// introduced are the options of a public listener that says who calls.
func (w world) introduced(app string) listener.Options {
	o := w.public(app)
	o.Preamble = func(o listener.Open) ([]byte, error) { return []byte("<" + o.Peer + ">"), nil }
	return o
}

// cryptoTLS is a HandshakeFunc that leaves the records to crypto/tls.
func (w world) cryptoTLS() listener.HandshakeFunc {
	return func(ctx context.Context, raw net.Conn) (listener.Session, error) {
		c, err := (&secure.Config{TLS: w.ca.ServerTLS(w.db)}).Server(ctx, raw)
		if err != nil {
			return listener.Session{}, err
		}
		peer := c.ConnectionState().PeerCertificates[0].URIs[0].String()
		return listener.Session{Conn: c, SessionInfo: listener.SessionInfo{Peer: peer}}, nil
	}
}

func TestTheApplicationGetsThePreambleOnceBeforeTheClientsBytes(t *testing.T) {
	w := newWorld(t)
	preamble := "<" + w.web.URI + ">"
	for name, handshake := range map[string]listener.HandshakeFunc{"own records": w.public("").Handshake, "crypto/tls": w.cryptoTLS()} {
		t.Run(name, func(t *testing.T) {
			o := w.introduced(listenertest.NewEcho(t).Addr())
			var counters relay.Counters
			o.Handshake, o.Counters = handshake, func(listener.Open) *relay.Counters { return &counters }
			l := start(t, o)
			requests := []string{"", "request", preamble, "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x00", string(make([]byte, 100_000))}
			sent, received := 0, 0
			for i, request := range requests {
				want := preamble + request
				if got := exchange(t, l.dialTLS(t, w.ca, w.web), request); got != want {
					t.Errorf("the application got %.80q, want %.80q", got, want)
				}
				s := l.wait(t, i+1)[i]
				if s.ToUpstream != int64(len(request)) || s.ToClient != int64(len(want)) || s.Reason != listener.ReasonClosed {
					t.Errorf("%d and %d bytes, %s (%v); want %d and %d, closed", s.ToUpstream, s.ToClient, s.Reason, s.Err, len(request), len(want))
				}
				sent, received = sent+len(request), received+len(want)
			}
			if up, down := counters.ToUpstream(), counters.ToClient(); up != int64(sent) || down != int64(received) {
				t.Errorf("counted %d and %d bytes, want %d and %d", up, down, sent, received)
			}
		})
	}
}

func TestTheApplicationHearsOfNobodyBeforeAuthorization(t *testing.T) {
	w := newWorld(t)
	app := listenertest.NewEcho(t)
	var made atomic.Int32
	o := w.introduced(app.Addr())
	o.Preamble = func(listener.Open) ([]byte, error) { made.Add(1); return []byte("<>"), nil }
	decision := make(chan error)
	o.Authorize = func(ctx context.Context, _ listener.Session) error {
		select {
		case err := <-decision:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	l := start(t, o)

	_ = l.dial(t).CloseWrite() // nobody
	stranger := l.dial(t)
	_, _ = io.WriteString(stranger, "PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n")
	expectEnd(t, stranger, patience)
	denied := l.dialTLS(t, w.ca, w.web)
	_, _ = io.WriteString(denied, "request")
	decision <- &listener.Denied{Reason: "no"}
	expectEnd(t, denied, patience)
	l.wait(t, 3)
	waiting := l.dialTLS(t, w.ca, w.web)
	_, _ = io.WriteString(waiting, "request")
	listenertest.Eventually(t, "the client is known", func() bool { return len(l.Peers()) == 1 })
	if n, m := app.Accepted(), made.Load(); n != 0 || m != 0 {
		t.Errorf("%d connections, %d preambles before anybody was authorized", n, m)
	}
	decision <- nil
	got := make([]byte, len("<>request"))
	if _, err := io.ReadFull(waiting, got); err != nil || string(got) != "<>request" {
		t.Errorf("got %q, %v", got, err)
	}
	if n, m := app.Accepted(), made.Load(); n != 1 || m != 1 {
		t.Errorf("%d connections, %d preambles of one client", n, m)
	}
}

func TestAnApplicationThatResetsInsteadOfTakingThePreambleIsBlamed(t *testing.T) {
	w := newWorld(t)
	run := func(name string, app func(*net.TCPConn), preamble func()) {
		t.Run(name, func(t *testing.T) {
			o := w.introduced(listenertest.NewServer(t, app).Addr())
			o.Preamble = func(listener.Open) ([]byte, error) { preamble(); return []byte("<>"), nil }
			l := start(t, o)
			expectEnd(t, l.dialTLS(t, w.ca, w.web), patience)
			s := l.wait(t, 1)[0]
			if s.Reason != listener.ReasonUpstreamReset || s.ToUpstream != 0 {
				t.Errorf("%s (%v), %d bytes to it", s.Reason, s.Err, s.ToUpstream)
			}
		})
	}
	dialled, reset := make(chan struct{}), make(chan struct{})
	run("before it is sent", func(c *net.TCPConn) {
		<-dialled
		_ = c.SetLinger(0)
		_ = c.Close()
		close(reset)
	}, func() { close(dialled); <-reset })
	run("in the middle of it", func(c *net.TCPConn) {
		_, _ = c.Read(make([]byte, 1))
		_ = c.SetLinger(0)
	}, func() {})
}

func TestNothingFollowsAPreambleThatWasNotSentWhole(t *testing.T) {
	w := newWorld(t)
	for name, tc := range map[string]struct {
		err  error
		want listener.Reason
	}{
		"cannot be made": {errors.New("no"), listener.ReasonDialFailed},
		"is never taken": {nil, listener.ReasonDialTimeout},
	} {
		t.Run(name, func(t *testing.T) {
			app, near := net.Pipe()
			defer app.Close()
			o := w.introduced("")
			o.DialTimeout = 50 * time.Millisecond
			o.Dial = func(context.Context) (listener.Target, error) { return listener.Target{Conn: near}, nil }
			o.Preamble = func(listener.Open) ([]byte, error) { return []byte("<>"), tc.err }
			l := start(t, o)
			c := l.dialTLS(t, w.ca, w.web)
			_, _ = io.WriteString(c, "request")
			s := l.wait(t, 1)[0]
			if s.Reason != tc.want || s.Relayed {
				t.Errorf("%s (%v), relayed %v; want %s", s.Reason, s.Err, s.Relayed, tc.want)
			}
			if got, err := io.ReadAll(app); len(got) > 0 || err != nil {
				t.Errorf("the application got %q, %v", got, err)
			}
		})
	}
}
