package listener_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"connect-proxy/listener"
	"connect-proxy/listener/listenertest"
	"connect-proxy/listener/secure"
)

// secureClient finishes a handshake as web, or fails the test and returns nil.
func secureClient(t testing.TB, raw net.Conn, w world) *secure.Conn {
	c, err := (&secure.Config{TLS: w.ca.ClientTLS(w.web)}).Client(t.Context(), raw)
	if err != nil {
		t.Error(err)
		return nil
	}
	return c
}

func TestStrangersNeverReachTheAppAndAreClosedInTime(t *testing.T) {
	// Only who is too slow is to feel the time's end, however busy the machine is.
	const soon, judged, late = 300 * time.Millisecond, 4 * time.Second, 60 * time.Second
	w, foreign := newWorld(t), listenertest.NewCA(t)
	denied := w.ca.Leaf(t, "denied")
	unknown := w.ca.Leaf(t, "unknown")
	undecided := w.ca.Leaf(t, "undecided")
	expired := w.ca.LeafWith(t, "web", listenertest.LeafOptions{
		NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(-time.Hour),
	})
	as := func(leaf listenertest.Leaf) func(net.Conn) {
		return func(c net.Conn) { _ = tls.Client(c, w.ca.ClientTLS(leaf)).Handshake() }
	}
	tests := map[string]struct {
		timeout time.Duration
		act     func(net.Conn)
		want    listener.Reason
	}{
		"says nothing":            {soon, func(net.Conn) {}, listener.ReasonHandshakeTimeout},
		"closes":                  {late, func(c net.Conn) { _ = c.Close() }, listener.ReasonSilent},
		"shuts down writing":      {late, func(c net.Conn) { _ = c.(*net.TCPConn).CloseWrite() }, listener.ReasonSilent},
		"resets":                  {late, func(c net.Conn) { _ = c.(*net.TCPConn).SetLinger(0); _ = c.Close() }, listener.ReasonSilent},
		"sends garbage":           {late, func(c net.Conn) { _, _ = c.Write([]byte("GET / HTTP/1.1\r\nHost: db.example.internal\r\n\r\n")) }, listener.ReasonHandshakeFailed},
		"begins and closes":       {late, func(c net.Conn) { _, _ = c.Write([]byte{22, 3}); _ = c.Close() }, listener.ReasonHandshakeFailed},
		"comes byte by byte":      {soon, drip, listener.ReasonHandshakeTimeout},
		"has no certificate":      {late, as(listenertest.Leaf{}), listener.ReasonHandshakeFailed},
		"is of another authority": {late, as(foreign.Leaf(t, "web")), listener.ReasonHandshakeFailed},
		"has expired":             {late, as(expired), listener.ReasonHandshakeFailed},
		"is denied":               {late, as(denied), listener.ReasonDenied},
		"cannot be judged":        {late, as(unknown), listener.ReasonAuthorizationUnknown},
		"is judged too slowly":    {judged, as(undecided), listener.ReasonAuthorizationUnknown},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			app := listenertest.NewEcho(t)
			o := w.public(app.Addr())
			o.HandshakeTimeout = tc.timeout
			o.Authorize = func(ctx context.Context, s listener.Session) error {
				switch s.Peer {
				case denied.URI:
					return &listener.Denied{Reason: "web => db is denied"}
				case undecided.URI:
					<-ctx.Done()
					return ctx.Err()
				}
				return errors.New("agent does not answer")
			}
			l := start(t, o)
			raw := l.dial(t)
			began := time.Now()
			tc.act(raw)
			s := l.wait(t, 1)[0]
			if took := time.Since(began); took > tc.timeout+10*time.Second { // a loaded machine
				t.Errorf("closed after %v, handshake timeout %v", took, tc.timeout)
			}
			if s.Reason != tc.want || s.Relayed || s.Err == nil {
				t.Errorf("reason %s (%v), want %s", s.Reason, s.Err, tc.want)
			}
			if n := app.Accepted(); n != 0 {
				t.Errorf("app accepted %d connections", n)
			}
			expectEnd(t, raw, patience)
		})
	}
}

// drip sends the beginning of a handshake slower than anybody waits for.
func drip(c net.Conn) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	hello := append([]byte{22, 3, 1, 1, 0, 1, 0, 0, 252}, make([]byte, 250)...)
	for i := range hello {
		if _, err := c.Write(hello[i : i+1]); err != nil {
			return
		}
		<-tick.C
	}
}

func TestHealthChecksLeaveNoLineAboveDebug(t *testing.T) {
	w, app := newWorld(t), listenertest.NewEcho(t)
	var log bytes.Buffer
	o := w.public(app.Addr())
	o.Logger = hclog.New(&hclog.LoggerOptions{Level: hclog.Info, Output: &log})
	l := start(t, o)
	for i := range 60 {
		c := l.dial(t)
		if i%2 == 0 {
			_ = c.SetLinger(0)
		}
		_ = c.Close()
	}
	l.wait(t, 60)
	l.stop()
	if log.Len() > 0 || app.Accepted() > 0 {
		t.Errorf("app accepted %d, log:\n%s", app.Accepted(), log.String())
	}
}

func TestAFloodOfStrangersIsLoggedInFewLinesAndCounted(t *testing.T) {
	w, app := newWorld(t), listenertest.NewEcho(t)
	var log bytes.Buffer
	o := w.public(app.Addr())
	o.Logger = hclog.New(&hclog.LoggerOptions{Level: hclog.Info, Output: &log})
	l := start(t, o)
	const flood = 200
	for range flood {
		c := l.dial(t)
		_, _ = c.Write([]byte("GET / HTTP/1.1\r\n\r\n"))
		_ = c.Close()
	}
	l.wait(t, flood)
	l.stop()
	lines := strings.Count(log.String(), "connection refused")
	if lines < 5 || lines > 40 || !strings.Contains(log.String(), "suppressed=") {
		t.Errorf("%d lines for %d strangers:\n%s", lines, flood, log.String())
	}
	if !strings.Contains(log.String(), "reason=handshake_failed") || !strings.Contains(log.String(), "error=") {
		t.Errorf("no line says why:\n%s", log.String())
	}
}
