package listener_test

import (
	"io"
	"net"
	"testing"
	"time"

	"connect-proxy/listener"
	"connect-proxy/listener/listenertest"
	"connect-proxy/listener/relay"
)

func TestARelaysEndIsNamed(t *testing.T) {
	const limit = 50 * time.Millisecond
	tests := map[string]struct {
		limits listener.Options // only these
		app    func(*net.TCPConn)
		client func(*net.TCPConn)
		want   listener.Reason
		stays  bool // the application, when it is done
	}{
		"client resets": {listener.Options{}, readAll, func(c *net.TCPConn) { _ = c.SetLinger(0); _ = c.Close() }, listener.ReasonClientReset, false},
		"app resets": {listener.Options{}, func(c *net.TCPConn) { _, _ = c.Read(make([]byte, 1)); _ = c.SetLinger(0) },
			func(c *net.TCPConn) { _, _ = c.Write([]byte("x")) }, listener.ReasonUpstreamReset, false},
		"nothing moves": {listener.Options{IdleTimeout: limit}, readAll, func(*net.TCPConn) {}, listener.ReasonIdleTimeout, false},
		"bytes move for too long": {listener.Options{MaxLifetime: limit, IdleTimeout: time.Hour}, readAll, func(c *net.TCPConn) {
			for _, err := c.Write([]byte("x")); err == nil; {
				_, err = c.Write([]byte("x"))
			}
		}, listener.ReasonMaxLifetime, false},
		"half-closed and no more": {listener.Options{HalfCloseTimeout: limit}, readAll,
			func(c *net.TCPConn) { _ = c.CloseWrite() }, listener.ReasonHalfCloseTimeout, true},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			over := make(chan struct{})
			app := listenertest.NewServer(t, func(c *net.TCPConn) {
				tc.app(c)
				if tc.stays {
					<-over
				}
			})
			defer close(over)
			o := tc.limits
			o.Dial = dialTo(app.Addr())
			l := start(t, o)
			c := l.dial(t)
			l.waitOpened(t, 1)
			tc.client(c)
			s := l.wait(t, 1)[0]
			if s.Reason != tc.want || !s.Relayed {
				t.Errorf("reason %s (%v), want %s", s.Reason, s.Err, tc.want)
			}
		})
	}
}

func readAll(c *net.TCPConn) { _, _ = io.Copy(io.Discard, c) }

func TestListenersShareARelayThatOutlivesThem(t *testing.T) {
	engine := relay.New()
	defer engine.Close()
	app := listenertest.NewEcho(t)
	o := listener.Options{Dial: dialTo(app.Addr()), Relay: engine}
	first, second := start(t, o), start(t, o)
	if got := exchange(t, first.dial(t), "first"); got != "first" {
		t.Errorf("answer %q", got)
	}
	first.stop()
	if got := exchange(t, second.dial(t), "second"); got != "second" {
		t.Errorf("answer %q", got)
	}
}

func TestAnEngineClosedUnderItsConnectionsEndsThem(t *testing.T) {
	engine := relay.New()
	app := listenertest.NewEcho(t)
	l := start(t, listener.Options{Dial: dialTo(app.Addr()), Relay: engine})
	c := l.dial(t)
	roundTrip(t, c)
	engine.Close()
	expectEnd(t, c, patience)
	if s := l.wait(t, 1)[0]; s.Reason != listener.ReasonShutdown {
		t.Errorf("reason %s", s.Reason)
	}
}
