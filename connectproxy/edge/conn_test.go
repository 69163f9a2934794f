package edge

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"connect-proxy/listener"
	"connect-proxy/listener/listenertest"
)

// fill writes to the socket of a client that takes nothing until it takes no more.
func fill(client net.Conn) error {
	raw := client.(interface{ NetConn() net.Conn }).NetConn()
	for idle := 0; idle < 3; { // the kernel finds some room now and then
		_ = raw.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
		n, err := raw.Write(make([]byte, 64<<10))
		switch {
		case n > 0:
			idle = 0
		case errors.Is(err, os.ErrDeadlineExceeded):
			idle++
		default:
			return err
		}
	}
	return raw.SetWriteDeadline(time.Time{})
}

// stuck has clients come whose sockets are full, and who take nothing. Each is passed to
// serve then.
func stuck(t *testing.T, clients int, serve func(ctx context.Context, client net.Conn)) *front {
	t.Helper()
	dir := t.TempDir()
	certificate(t, dir, "edge.test")
	full := make(chan error, clients)
	var e *Terminator
	f := open(t, func(_ int, o Options) *Terminator {
		o.Hosts, o.Cert = []string{"edge.test"}, filepath.Join(dir, "tls.pem")
		o.Request = func(c net.Conn) listener.Request {
			return listener.Request{Conn: c, Serve: func(ctx context.Context, c net.Conn) {
				full <- fill(c)
				serve(ctx, c)
			}}
		}
		e = New(o)
		return e
	})
	listenertest.Eventually(t, "there is a certificate", func() bool { return has(e, "edge.test") })
	for range clients {
		c, err := tls.Dial("tcp", f.Addr().String(), &tls.Config{ServerName: "edge.test", InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.NetConn().Close() })
	}
	for range clients {
		if err := <-full; err != nil {
			t.Fatal(err)
		}
	}
	return f
}

func TestClientsThatTakeNothingAreCutAtOnce(t *testing.T) {
	t.Parallel()
	const clients = 30
	f := stuck(t, clients, func(ctx context.Context, _ net.Conn) { <-ctx.Done() })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	began := time.Now()
	if err := f.Drain(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Drain: %v", err)
	}
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("%d clients were cut after %s", clients, took)
	}
	if n := f.Live(); n != 0 {
		t.Errorf("%d are left", n)
	}
}

func TestAClientAtRestThatTakesNothingIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	const clients = 3
	resting := make(chan net.Conn, clients)
	var ended sync.WaitGroup
	ended.Add(clients)
	stuck(t, clients, func(_ context.Context, c net.Conn) {
		defer ended.Done()
		resting <- c
		_, _ = io.Copy(io.Discard, c)
	})
	began := time.Now()
	for range clients {
		c := <-resting
		if own, ok := c.(*conn); ok {
			listenertest.Eventually(t, "it is waited for a request", own.reading.Load)
		}
		_ = c.Close()
	}
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("%d clients were closed after %s", clients, took)
	}
	ended.Wait()
}

func TestAClientThatReadsIsToldOfAnOrderlyEndAlone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	certificate(t, dir, "edge.test")
	clients := make(chan *conn, 1)
	var e *Terminator
	f := open(t, func(_ int, o Options) *Terminator {
		o.Hosts, o.Cert = []string{"edge.test"}, filepath.Join(dir, "tls.pem")
		o.Request = func(c net.Conn) listener.Request {
			return listener.Request{Conn: c, Serve: func(_ context.Context, c net.Conn) {
				clients <- c.(*conn)
				_, _ = io.Copy(io.Discard, c)
			}}
		}
		e = New(o)
		return e
	})
	listenertest.Eventually(t, "there is a certificate", func() bool { return has(e, "edge.test") })
	for way, end := range map[string]func(c *conn) error{"closed": (*conn).Close, "aborted": (*conn).Abort} {
		client, err := tls.Dial("tcp", f.Addr().String(), &tls.Config{ServerName: "edge.test", InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = client.NetConn().Close() })
		c := <-clients
		listenertest.Eventually(t, "it is waited for a request", c.reading.Load)
		if err := end(c); err != nil {
			t.Errorf("%s: %v", way, err)
		}
		if _, err := client.Read(make([]byte, 1)); (err == io.EOF) != (way == "closed") {
			t.Errorf("%s: the client reads %v", way, err)
		}
	}
}
