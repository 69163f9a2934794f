package listener_test

import (
	"context"
	"io"
	"net"
	"testing"
	"time"

	"connect-proxy/listener"
	"connect-proxy/listener/listenertest"
	"connect-proxy/listener/secure"
)

func TestAClientThatIsJudgedTooSlowlyIsToldToGoElsewhere(t *testing.T) {
	w := newWorld(t)
	o := w.public(listenertest.NewEcho(t).Addr())
	o.HandshakeTimeout = 4 * time.Second // enough for the handshake itself
	o.Authorize = func(ctx context.Context, _ listener.Session) error {
		<-ctx.Done()
		return ctx.Err()
	}
	c := start(t, o).dialTLS(t, w.ca, w.web)
	_, err := c.Read(make([]byte, 1))
	if why, ok := secure.RefusalOf(err); !ok || why != secure.RefusedService {
		t.Errorf("the client hears %v, not that the service cannot be had", err)
	}
}

func TestAClientWhoseOwnQuestionRevokesItsIdentityIsToldThatItMayNotPass(t *testing.T) {
	w := newWorld(t)
	o := w.public(listenertest.NewEcho(t).Addr())
	var l *running
	ready := make(chan struct{})
	o.Authorize = func(_ context.Context, s listener.Session) error {
		<-ready
		l.ClosePeers(func(peer string) bool { return peer == s.Peer }, listener.ReasonIntentionRevoked)
		return &listener.Denied{Reason: "no more"}
	}
	l = start(t, o)
	close(ready)
	for range 3 {
		_, err := l.dialTLS(t, w.ca, w.web).Read(make([]byte, 1))
		if why, ok := secure.RefusalOf(err); !ok || why != secure.RefusedAccess {
			t.Errorf("the client hears %v, not that it may not pass", err)
		}
	}
}

func TestAClientThatIsDeniedWhileItsFarSideIsDialledIsToldSo(t *testing.T) {
	for reason, want := range map[listener.Reason]secure.Refusal{
		listener.ReasonIntentionRevoked: secure.RefusedAccess,
		listener.ReasonShutdown:         secure.RefusedService,
	} {
		w := newWorld(t)
		o := w.public(listenertest.NewEcho(t).Addr())
		dialling := make(chan struct{})
		o.Dial = func(ctx context.Context) (listener.Target, error) {
			close(dialling)
			<-ctx.Done()
			return listener.Target{}, ctx.Err()
		}
		o.DialTimeout = time.Minute
		l := start(t, o)
		c := l.dialTLS(t, w.ca, w.web)
		<-dialling
		l.ClosePeers(func(string) bool { return true }, reason)
		_, err := c.Read(make([]byte, 1))
		if why, ok := secure.RefusalOf(err); !ok || why != want {
			t.Errorf("%s: the client hears %v", reason, err)
		}
	}
}

func TestWhoAnsweredIsToldFromWhoEndedAtOnce(t *testing.T) {
	for answer, want := range map[string]string{"x": "answered", "": "failed"} {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = ln.Close() })
		go func() {
			if c, err := ln.Accept(); err == nil {
				_, _ = io.WriteString(c, answer)
				_ = c.Close()
			}
		}()
		ended := make(chan string, 3)
		l := start(t, listener.Options{Dial: func(ctx context.Context) (listener.Target, error) {
			target, err := dialTo(ln.Addr().String())(ctx)
			target.Release = func() { ended <- "released" }
			target.Answered = func() { ended <- "answered" }
			target.Failed = func(error) { ended <- "failed" }
			return target, err
		}})
		c := l.dial(t)
		_, _ = io.ReadAll(c)
		_ = c.Close()
		l.wait(t, 1)
		if got := <-ended; got != want || len(ended) > 0 {
			t.Errorf("after %q the far side has %s, want %s", answer, got, want)
		}
	}
}
