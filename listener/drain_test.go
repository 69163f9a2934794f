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

// drain starts a Drain with its own end.
func drain(t testing.TB, l *running) (force context.CancelFunc, done chan error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	done = make(chan error, 1)
	go func() { done <- l.Drain(ctx) }()
	return cancel, done
}

// waitRefusing waits until nobody listens any more.
func waitRefusing(t testing.TB, l *running) {
	t.Helper()
	listenertest.Eventually(t, "the port refuses", func() bool {
		c, err := net.Dial("tcp", l.Addr().String())
		if err == nil {
			_ = c.Close()
		}
		return err != nil
	})
}

func TestDrainRefusesNewConnectionsAndLetsOpenOnesFinish(t *testing.T) {
	app := listenertest.NewEcho(t)
	l := start(t, listener.Options{Dial: dialTo(app.Addr())})
	c := l.dial(t)
	l.waitOpened(t, 1)
	_, done := drain(t, l)
	waitRefusing(t, l)
	select {
	case err := <-done:
		t.Fatalf("drained with a connection open: %v", err)
	default:
	}
	if got := exchange(t, c, "still here"); got != "still here" {
		t.Errorf("answer %q", got)
	}
	if err := <-done; err != nil {
		t.Errorf("Drain: %v", err)
	}
	if err := <-l.done; err != nil {
		t.Errorf("Run: %v", err)
	}
	l.done <- nil
}

func TestDrainCutsWhatIsLeftWhenItsTimeIsUp(t *testing.T) {
	w, app := newWorld(t), listenertest.NewEcho(t)
	l := start(t, w.public(app.Addr()))
	c := l.dialTLS(t, w.ca, w.web)
	stranger := l.dial(t)
	l.waitOpened(t, 1)
	listenertest.Eventually(t, "both are live", func() bool { return l.Live() == 2 })
	force, first := drain(t, l)
	_, second := drain(t, l)
	force()
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Errorf("forced Drain: %v", err)
	}
	if err := <-second; err != nil {
		t.Errorf("Drain that was still waiting: %v", err)
	}
	if n := l.Live(); n != 0 {
		t.Errorf("%d connections live after Drain", n)
	}
	cut := 0
	for _, s := range l.all() {
		switch s.Reason {
		case listener.ReasonDrain:
			cut++
		default:
			t.Errorf("reason %s", s.Reason)
		}
	}
	if cut != 2 {
		t.Errorf("cut %d connections, want the relayed one and the stranger", cut)
	}
	if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("cut connection reads %v, which looks like an orderly end", err)
	}
	expectEnd(t, stranger, patience)
	if err := l.Drain(t.Context()); err != nil {
		t.Errorf("Drain after the end: %v", err)
	}
}

func TestShutdownCutsHandshakesDialsAndRelaysAlike(t *testing.T) {
	app := listenertest.NewEcho(t)
	w := newWorld(t)
	dialling := make(chan struct{}, 1)
	o := w.public(app.Addr())
	dial := o.Dial
	o.Dial = func(ctx context.Context) (listener.Target, error) {
		select {
		case dialling <- struct{}{}:
			<-ctx.Done()
			return listener.Target{}, ctx.Err()
		default:
			return dial(ctx)
		}
	}
	o.DialTimeout = time.Hour
	l := start(t, o)
	l.dialTLS(t, w.ca, w.web)
	listenertest.Eventually(t, "one is being dialled for", func() bool { return len(dialling) == 1 })
	l.dialTLS(t, w.ca, w.web)
	l.waitOpened(t, 1)
	l.dial(t)
	listenertest.Eventually(t, "three are live", func() bool { return l.Live() == 3 })
	l.stop()
	for _, s := range l.wait(t, 3) {
		if s.Reason != listener.ReasonShutdown {
			t.Errorf("reason %s: %v", s.Reason, s.Err)
		}
	}
}

func TestClientsThatWaitInTheKernelsQueueAreServedBeforeTheSocketCloses(t *testing.T) {
	app := listenertest.NewEcho(t)
	release := make(chan struct{})
	held := &holdListener{release: release, entered: make(chan struct{}, 1)}
	var err error
	if held.TCPListener, err = listenTCP(t); err != nil {
		t.Fatal(err)
	}
	l := startOn(t, held, listener.Options{Dial: dialTo(app.Addr())})
	<-held.entered // the acceptor is elsewhere while clients come
	var clients []*net.TCPConn
	for range 20 {
		clients = append(clients, l.dial(t))
	}
	_, done := drain(t, l)
	close(release)
	for i, c := range clients {
		if got := exchange(t, c, "waited"); got != "waited" {
			t.Errorf("client %d: answer %q", i, got)
		}
	}
	if err := <-done; err != nil {
		t.Errorf("Drain: %v", err)
	}
}

func listenTCP(t testing.TB) (*net.TCPListener, error) {
	ln, err := listener.Listen(t.Context(), "tcp", "127.0.0.1:0", 0)
	if err != nil {
		return nil, err
	}
	return ln.(*net.TCPListener), nil
}

// holdListener keeps the first Accept back.
type holdListener struct {
	*net.TCPListener
	release, entered chan struct{}
}

func (h *holdListener) Accept() (net.Conn, error) {
	select {
	case h.entered <- struct{}{}:
	default:
	}
	<-h.release
	return h.TCPListener.Accept()
}

func TestStoppingBeforeRunFreesThePort(t *testing.T) {
	ln, err := listener.Listen(t.Context(), "tcp", "127.0.0.1:0", 0)
	if err != nil {
		t.Fatal(err)
	}
	l, err := listener.New(ln, listener.Options{Dial: dialTo("127.0.0.1:1")})
	if err != nil {
		t.Fatal(err)
	}
	l.StopAccepting()
	l.StopAccepting()
	again, err := listener.Listen(t.Context(), "tcp", ln.Addr().String(), 0)
	if err != nil {
		t.Fatalf("the port is not free: %v", err)
	}
	_ = again.Close()
	if err := l.Drain(t.Context()); err != nil {
		t.Errorf("Drain: %v", err)
	}
	if err := l.Run(t.Context()); err != nil {
		t.Errorf("Run: %v", err)
	}
	if err := l.Run(t.Context()); err == nil {
		t.Error("a second Run is no error")
	}
}

func TestStopAndRunAtOnceNeverLeaveTheSocketOpen(t *testing.T) {
	for range 200 {
		ln, err := listener.Listen(t.Context(), "tcp", "127.0.0.1:0", 0)
		if err != nil {
			t.Fatal(err)
		}
		l, err := listener.New(ln, listener.Options{Dial: dialTo("127.0.0.1:1")})
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- l.Run(t.Context()) }()
		l.StopAccepting()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
}

func TestSocketClosedFromElsewhereEndsRunWithAnError(t *testing.T) {
	ln, err := listenTCP(t)
	if err != nil {
		t.Fatal(err)
	}
	l := startOn(t, ln, listener.Options{Dial: dialTo("127.0.0.1:1")})
	_ = ln.Close()
	err = <-l.done
	l.done <- err
	if !errors.Is(err, net.ErrClosed) || l.Problem() == "" {
		t.Errorf("Run: %v, problem %q", err, l.Problem())
	}
}
