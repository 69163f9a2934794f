package listener_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"connect-proxy/listener"
	"connect-proxy/listener/listenertest"
	"connect-proxy/listener/secure"
)

func TestMain(m *testing.M) { listenertest.Leaks(m) }

// recorder is an Observer that keeps everything.
type recorder struct {
	mu     sync.Mutex
	opened []listener.Open
	closed []listener.Summary
}

func (r *recorder) ConnOpened(o listener.Open) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.opened = append(r.opened, o)
}

func (r *recorder) ConnClosed(s listener.Summary) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = append(r.closed, s)
}

func (r *recorder) counts() (opened, closed int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.opened), len(r.closed)
}

// waitOpened waits until n connections have been relayed.
func (r *recorder) waitOpened(t testing.TB, n int) {
	t.Helper()
	listenertest.Eventually(t, "connections are relayed", func() bool { o, _ := r.counts(); return o >= n })
}

// wait gives the first n summaries.
func (r *recorder) wait(t testing.TB, n int) []listener.Summary {
	t.Helper()
	listenertest.Eventually(t, "connections have ended", func() bool { _, c := r.counts(); return c >= n })
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]listener.Summary(nil), r.closed[:n]...)
}

// all gives every summary so far.
func (r *recorder) all() []listener.Summary {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]listener.Summary(nil), r.closed...)
}

// running is a Listener with its Run.
type running struct {
	*listener.Listener
	*recorder
	cancel context.CancelFunc
	done   chan error
}

// start runs a Listener on a loopback port until the test ends.
func start(t testing.TB, o listener.Options) *running {
	t.Helper()
	ln, err := listener.Listen(t.Context(), "tcp", "127.0.0.1:0", 0)
	if err != nil {
		t.Fatal(err)
	}
	return startOn(t, ln, o)
}

func startOn(t testing.TB, ln net.Listener, o listener.Options) *running {
	t.Helper()
	r := &running{recorder: &recorder{}, done: make(chan error, 1)}
	o.Name = "test"
	if o.Observer == nil {
		o.Observer = r.recorder
	}
	var err error
	if r.Listener, err = listener.New(ln, o); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	r.cancel = cancel
	go func() { r.done <- r.Run(ctx) }()
	t.Cleanup(r.stop)
	return r
}

// patience is how long a test waits for what happens at once, on a machine that does
// much else.
const patience = 30 * time.Second

// stop ends Run and waits for it.
func (r *running) stop() {
	r.cancel()
	r.done <- <-r.done
}

func (r *running) dial(t testing.TB) *net.TCPConn {
	t.Helper()
	c, err := net.Dial(r.Addr().Network(), r.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c.(*net.TCPConn)
}

// expectRefused connects and expects to be cut off at once, be it while the
// connection is being made.
func (r *running) expectRefused(t testing.TB) {
	t.Helper()
	expectEnd(t, listenertest.Dial(t, "tcp", r.Addr().String()), patience)
}

// dialTLS connects as leaf and finishes the handshake.
func (r *running) dialTLS(t testing.TB, ca *listenertest.CA, leaf listenertest.Leaf) *secure.Conn {
	t.Helper()
	c, err := (&secure.Config{TLS: ca.ClientTLS(leaf)}).Client(t.Context(), r.dial(t))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// dialTo is a DialFunc to one address.
func dialTo(address string) listener.DialFunc {
	d := listener.NewDialer()
	return func(ctx context.Context) (listener.Target, error) {
		c, err := d.DialContext(ctx, "tcp", address)
		return listener.Target{Conn: c, Instance: listener.Instance{Address: address}}, err
	}
}

// handshake is a HandshakeFunc with a fixed configuration.
func handshake(cfg *tls.Config) listener.HandshakeFunc {
	return func(ctx context.Context, raw net.Conn) (listener.Session, error) {
		c, err := (&secure.Config{TLS: cfg, OwnRecords: true}).Server(ctx, raw)
		if err != nil {
			return listener.Session{}, err
		}
		state := c.ConnectionState()
		leaf := state.PeerCertificates[0]
		return listener.Session{Conn: c, SessionInfo: listener.SessionInfo{
			Peer:       leaf.URIs[0].String(),
			Serial:     listenertest.Serial(leaf),
			TLSVersion: state.Version,
			ServerName: state.ServerName,
			Resumed:    state.DidResume,
		}}, nil
	}
}

// world is an authority with a server's and a client's leaf.
type world struct {
	ca      *listenertest.CA
	db, web listenertest.Leaf
}

func newWorld(t testing.TB) world {
	ca := listenertest.NewCA(t)
	return world{ca: ca, db: ca.Leaf(t, "db"), web: ca.Leaf(t, "web")}
}

// public are the options of a public listener in front of app, that lets
// everybody pass whom the authority knows.
func (w world) public(app string) listener.Options {
	return listener.Options{
		Handshake: handshake(w.ca.ServerTLS(w.db)),
		Authorize: func(context.Context, listener.Session) error { return nil },
		Dial:      dialTo(app),
	}
}

// expectEnd reads until the other side has ended the connection in any way, and
// fails the test if it sent anything or took longer than limit.
func expectEnd(t testing.TB, c net.Conn, limit time.Duration) {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(limit))
	var b [64]byte
	for {
		_, err := c.Read(b[:])
		var ne net.Error
		switch {
		case err == nil: // an alert
		case errors.As(err, &ne) && ne.Timeout():
			t.Fatalf("connection is still open after %v", limit)
		default:
			return
		}
	}
}

// exchange sends and half-closes, and returns the whole answer.
func exchange(t testing.TB, c interface {
	io.ReadWriter
	CloseWrite() error
}, request string) string {
	t.Helper()
	if _, err := io.WriteString(c, request); err != nil {
		t.Fatal(err)
	}
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	return string(answer)
}
