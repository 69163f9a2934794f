package listener_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"connect-proxy/listener"
	"connect-proxy/listener/listenertest"
	"connect-proxy/listener/relay"
)

// lengthServer answers with how much it was sent, in words of another length.
func lengthServer(t testing.TB) *listenertest.Server {
	return listenertest.NewServer(t, func(c *net.TCPConn) {
		n, _ := io.Copy(io.Discard, c)
		_, _ = fmt.Fprintf(c, "%d bytes came", n)
	})
}

func TestConnectionIsRelayedAndToldOnceWithItsBytesEachWay(t *testing.T) {
	w := newWorld(t)
	app := lengthServer(t)
	tests := map[string]struct {
		options listener.Options
		peer    string
		dial    func(*running) interface {
			io.ReadWriter
			CloseWrite() error
		}
	}{
		"plain": {listener.Options{Dial: dialTo(app.Addr())}, "", func(l *running) interface {
			io.ReadWriter
			CloseWrite() error
		} {
			return l.dial(t)
		}},
		"TLS": {w.public(app.Addr()), w.web.URI, func(l *running) interface {
			io.ReadWriter
			CloseWrite() error
		} {
			return l.dialTLS(t, w.ca, w.web)
		}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			var released atomic.Int32
			dial := tc.options.Dial
			tc.options.Dial = func(ctx context.Context) (listener.Target, error) {
				target, err := dial(ctx)
				target.Release = func() { released.Add(1) }
				return target, err
			}
			counted := new(relay.Counters)
			tc.options.Counters = func(listener.Open) *relay.Counters { return counted }
			l := start(t, tc.options)
			if got := exchange(t, tc.dial(l), strings.Repeat("x", 100_000)); got != "100000 bytes came" {
				t.Errorf("answer %q", got)
			}
			s := l.wait(t, 1)[0]
			if s.ToUpstream != 100_000 || s.ToClient != int64(len("100000 bytes came")) {
				t.Errorf("%d bytes to the upstream, %d to the client", s.ToUpstream, s.ToClient)
			}
			if c := counted; c.ToUpstream() != s.ToUpstream || c.ToClient() != s.ToClient {
				t.Errorf("%d and %d bytes are counted", c.ToUpstream(), c.ToClient())
			}
			if s.Reason != listener.ReasonClosed || s.Err != nil || !s.Relayed || s.Duration <= 0 {
				t.Errorf("summary %+v", s)
			}
			if s.Listener != "test" || s.Peer != tc.peer || s.Instance.Address != app.Addr() || s.Client == nil {
				t.Errorf("summary %+v", s)
			}
			listenertest.Eventually(t, "nothing is live", func() bool { return l.Live() == 0 })
			if n := released.Load(); n != 1 {
				t.Errorf("target released %d times", n)
			}
		})
	}
}

func TestUpdateHoldsForNewConnectionsOnly(t *testing.T) {
	before, after := listenertest.NewEcho(t), listenertest.NewEcho(t)
	l := start(t, listener.Options{Dial: dialTo(before.Addr())})
	old := l.dial(t)
	l.waitOpened(t, 1)

	l.Update(listener.Options{Name: "test", Dial: dialTo(after.Addr()), Observer: l.recorder})
	if got := exchange(t, l.dial(t), "new"); got != "new" {
		t.Errorf("new connection answers %q", got)
	}
	if got := exchange(t, old, "old"); got != "old" {
		t.Errorf("old connection answers %q", got)
	}
	if before.Accepted() != 1 || after.Accepted() != 1 {
		t.Errorf("%d connections before, %d after", before.Accepted(), after.Accepted())
	}
}

func TestUpdateWithoutAuthorizationLetsNobodyPass(t *testing.T) {
	w, app := newWorld(t), listenertest.NewEcho(t)
	l := start(t, w.public(app.Addr()))
	o := w.public(app.Addr())
	o.Observer, o.Authorize = l.recorder, nil
	l.Update(o)
	expectEnd(t, l.dialTLS(t, w.ca, w.web), patience)
	if s := l.wait(t, 1)[0]; s.Reason != listener.ReasonAuthorizationUnknown || app.Accepted() != 0 {
		t.Errorf("reason %s, app accepted %d", s.Reason, app.Accepted())
	}
}

func TestConnectionsOverTheLimitAreClosedAtOnce(t *testing.T) {
	w, app := newWorld(t), listenertest.NewEcho(t)
	plain := listener.Options{Dial: dialTo(app.Addr()), MaxConnections: 2}
	public := w.public(app.Addr())
	public.MaxConnections = 2
	for name, o := range map[string]listener.Options{"plain": plain, "public": public} {
		t.Run(name, func(t *testing.T) {
			l := start(t, o)
			open := func() net.Conn {
				if o.Handshake == nil {
					return l.dial(t)
				}
				return l.dialTLS(t, w.ca, w.web)
			}
			first := open()
			open()
			l.waitOpened(t, 2)
			l.expectRefused(t)
			if s := l.wait(t, 1)[0]; s.Reason != listener.ReasonLimit || s.Relayed || s.Err == nil {
				t.Errorf("summary %+v", s)
			}
			if n := l.OverLimit(); n != 1 {
				t.Errorf("%d are counted", n)
			}
			_ = first.Close()
			l.wait(t, 2)
			listenertest.Eventually(t, "a place is free", func() bool { return l.Live() == 1 })
			open()
			l.waitOpened(t, 3)
		})
	}
}

func TestStrangersTakeNoPlaceOfMaxConnections(t *testing.T) {
	w, app := newWorld(t), listenertest.NewEcho(t)
	o := w.public(app.Addr())
	o.MaxConnections = 1
	l := start(t, o)
	for range 3 {
		l.dial(t) // and says nothing
	}
	listenertest.Eventually(t, "the strangers are accepted", func() bool { return l.Live() == 3 })
	if got := exchange(t, l.dialTLS(t, w.ca, w.web), "hello"); got != "hello" {
		t.Errorf("answer %q", got)
	}
}

func TestTwoHandshakesForOnePlaceLetOnePass(t *testing.T) {
	w, app := newWorld(t), listenertest.NewEcho(t)
	o := w.public(app.Addr())
	o.MaxConnections = 1
	both := make(chan struct{}, 2)
	o.Authorize = func(ctx context.Context, _ listener.Session) error {
		both <- struct{}{}
		for len(both) < 2 && ctx.Err() == nil {
			<-time.After(time.Millisecond)
		}
		return ctx.Err()
	}
	l := start(t, o)
	l.dialTLS(t, w.ca, w.web)
	l.dialTLS(t, w.ca, w.web)
	l.waitOpened(t, 1)
	if s := l.wait(t, 1)[0]; s.Reason != listener.ReasonLimit {
		t.Errorf("reason %s", s.Reason)
	}
}

func TestABurstOverMaxHandshakesIsServedWholly(t *testing.T) {
	w, app := newWorld(t), listenertest.NewEcho(t)
	o := w.public(app.Addr())
	o.MaxHandshakes = 1
	l := start(t, o)
	const burst = 20
	for range burst {
		go func() {
			c, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			tc := secureClient(t, c, w)
			if tc == nil {
				return
			}
			_ = tc.CloseWrite()
			_, _ = io.Copy(io.Discard, tc)
		}()
	}
	for _, s := range l.wait(t, burst) {
		// Newcomers wait for a quarter of a second for whoever is slow, which one of
		// these is only where the machine does much else.
		slow := s.Reason == listener.ReasonHandshakeEvicted && s.Duration >= 200*time.Millisecond
		if s.Reason != listener.ReasonClosed && !slow {
			t.Errorf("reason %s after %s: %v", s.Reason, s.Duration, s.Err)
		}
	}
}

func TestDialFailuresAreNamedAndResetTheClient(t *testing.T) {
	tests := map[string]struct {
		limit time.Duration
		dial  listener.DialFunc
		want  listener.Reason
	}{
		"refused": {patience, dialTo(listenertest.Refusing(t)), listener.ReasonDialFailed},
		"too slow": {50 * time.Millisecond, func(ctx context.Context) (listener.Target, error) {
			<-ctx.Done()
			return listener.Target{}, ctx.Err()
		}, listener.ReasonDialTimeout},
		"named": {patience, func(context.Context) (listener.Target, error) {
			return listener.Target{}, listener.WithReason(listener.ReasonNoEndpoints, errors.New("no instance"))
		}, listener.ReasonNoEndpoints},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			connected := make(chan struct{}) // else the reset ends the client's connect
			l := start(t, listener.Options{DialTimeout: tc.limit,
				Dial: func(ctx context.Context) (listener.Target, error) {
					<-connected
					return tc.dial(ctx)
				}})
			c := l.dial(t)
			close(connected)
			if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
				t.Errorf("client reads %v, which looks like an empty answer", err)
			}
			if s := l.wait(t, 1)[0]; s.Reason != tc.want || s.Err == nil || s.Relayed {
				t.Errorf("summary %+v", s)
			}
		})
	}
}

func TestNewRefusesOptionsThatCannotWork(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	dial := dialTo("127.0.0.1:1")
	for name, tc := range map[string]struct {
		ln net.Listener
		o  listener.Options
	}{
		"no socket":                      {nil, listener.Options{Dial: dial}},
		"no dial":                        {ln, listener.Options{}},
		"handshake but no authorization": {ln, listener.Options{Dial: dial, Handshake: handshake(&tls.Config{})}},
	} {
		if _, err := listener.New(tc.ln, tc.o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
