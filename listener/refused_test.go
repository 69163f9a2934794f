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
	o.HandshakeTimeout = 300 * time.Millisecond
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
