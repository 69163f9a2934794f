//go:build unix

package listener_test

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"connect-proxy/listener"
	"connect-proxy/listener/listenertest"
)

// startUnreading serves clients for as long as it may, and reads nothing from them. It
// looks often whether they are there.
func startUnreading(t *testing.T) (*listener.Listener, *recorder) {
	t.Helper()
	ln, err := listener.Listen(t.Context(), "tcp", "127.0.0.1:0", 0)
	if err != nil {
		t.Fatal(err)
	}
	seen := &recorder{}
	l, err := listener.New(ln, listener.Options{Observer: seen, Request: func(context.Context, net.Conn) (listener.Request, error) {
		return listener.Request{Serve: func(ctx context.Context, c net.Conn) {
			_, _ = io.WriteString(c, "served\n")
			<-ctx.Done()
		}}, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	l.LookForBrokenConnections(20 * time.Millisecond)
	listenertest.Run(t, func(ctx context.Context) error { return errors.Join(l.Run(ctx), ctx.Err()) })
	return l, seen
}

func TestAClientThatResetsIsServedNoMoreEvenIfNobodyReadsFromIt(t *testing.T) {
	t.Parallel()
	l, seen := startUnreading(t)
	served := func() *net.TCPConn {
		c := listenertest.Dial(t, "tcp", l.Addr().String()).(*net.TCPConn)
		_, _ = io.WriteString(c, "hello, and more that nobody reads")
		if _, err := io.ReadFull(c, make([]byte, len("served\n"))); err != nil {
			t.Fatal(err)
		}
		return c
	}
	served() // and stays
	ended, resets := served(), served()
	_ = ended.CloseWrite() // and waits for an answer
	_ = resets.SetLinger(0)
	_ = resets.Close()
	listenertest.Eventually(t, "the client is served no more", func() bool { return l.Live() == 2 })
	<-time.After(200 * time.Millisecond)
	if l.Live() != 2 {
		t.Errorf("%d are served of those that are there", l.Live())
	}
	if s := seen.wait(t, 1)[0]; s.Reason != listener.ReasonClientReset || s.Err == nil {
		t.Errorf("%s: %v", s.Reason, s.Err)
	}
}
