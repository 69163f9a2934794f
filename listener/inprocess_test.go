package listener_test

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"connect-proxy/listener"
	"connect-proxy/listener/listenertest"
	"connect-proxy/listener/relay"
	"connect-proxy/listener/secure"
)

// inProcess are the options of a public listener whose clients the program serves
// itself.
func (w world) inProcess() (listener.Options, *listener.InProcess) {
	o, in := w.public(""), listener.NewInProcess()
	o.Dial, o.InProcess = nil, in
	return o, in
}

// accept returns the next connection.
func accept(t testing.TB, in *listener.InProcess) *listener.Conn {
	t.Helper()
	c, err := in.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c.(*listener.Conn)
}

func TestAProgramServesItsClientsItself(t *testing.T) {
	w := newWorld(t)
	for name, handshake := range map[string]listener.HandshakeFunc{"own records": w.public("").Handshake, "crypto/tls": w.cryptoTLS()} {
		t.Run(name, func(t *testing.T) {
			o, in := w.inProcess()
			var counters relay.Counters
			o.Handshake, o.Counters = handshake, func(listener.Open) *relay.Counters { return &counters }
			l := start(t, o)
			request, answer := strings.Repeat("request", 10_000), strings.Repeat("the answer", 20_000)
			served := make(chan string, 1)
			go func() {
				c, err := in.Accept()
				if err != nil {
					served <- err.Error()
					return
				}
				defer c.Close()
				got, err := io.ReadAll(c) // the client has ended its direction by then
				if err != nil || string(got) != request {
					served <- "the program got something else"
				}
				_, _ = io.WriteString(c, answer)
				served <- c.(*listener.Conn).Peer()
			}()
			if got := exchange(t, l.dialTLS(t, w.ca, w.web), request); got != answer {
				t.Errorf("the client got %.80q", got)
			}
			if peer := <-served; peer != w.web.URI {
				t.Errorf("the program sees %q as its peer", peer)
			}
			s := l.wait(t, 1)[0]
			if s.ToUpstream != int64(len(request)) || s.ToClient != int64(len(answer)) || s.Reason != listener.ReasonClosed || !s.Relayed || s.Peer != w.web.URI {
				t.Errorf("summary %+v", s)
			}
			if counters.ToUpstream() != s.ToUpstream || counters.ToClient() != s.ToClient {
				t.Errorf("counted %d and %d bytes", counters.ToUpstream(), counters.ToClient())
			}
		})
	}
}

func TestTheProgramIsGivenNobodyWhoMayNotCall(t *testing.T) {
	w := newWorld(t)
	api := w.ca.Leaf(t, "api")
	o, in := w.inProcess()
	o.HandshakeTimeout = 300 * time.Millisecond
	o.Authorize = func(_ context.Context, s listener.Session) error {
		if s.Peer != w.web.URI {
			return &listener.Denied{}
		}
		return nil
	}
	l := start(t, o)
	l.dial(t) // says nothing
	garbage := l.dial(t)
	_, _ = io.WriteString(garbage, "GET / HTTP/1.1\r\n\r\n")
	for _, leaf := range []listenertest.Leaf{api, listenertest.NewCA(t).Leaf(t, "web")} {
		go func() { _, _ = (&secure.Config{TLS: w.ca.ClientTLS(leaf)}).Client(t.Context(), l.dial(t)) }()
	}
	for _, s := range l.wait(t, 4) {
		if s.Relayed {
			t.Errorf("summary %+v", s)
		}
	}
	o.HandshakeTimeout, o.Observer = 0, l.recorder
	l.Update(o)
	l.dialTLS(t, w.ca, w.web)
	if c := accept(t, in); c.Peer() != w.web.URI {
		t.Errorf("the program was given %q", c.Peer())
	}
}

func TestAPeerThatIsDeniedIsCutOffFromTheProgram(t *testing.T) {
	w := newWorld(t)
	api := w.ca.Leaf(t, "api")
	o, in := w.inProcess()
	l := start(t, o)
	client := l.dialTLS(t, w.ca, w.web)
	denied := accept(t, in)
	kept := l.dialTLS(t, w.ca, api)
	go func() { _, _ = io.Copy(kept, kept) }()
	stays := accept(t, in)

	read := make(chan error, 1)
	go func() {
		_, err := denied.Read(make([]byte, 1))
		read <- err
	}()
	l.ClosePeers(func(p string) bool { return p == w.web.URI }, listener.ReasonIntentionRevoked)
	if err := <-read; !errors.Is(err, net.ErrClosed) || !strings.Contains(err.Error(), "intention_revoked") {
		t.Errorf("the program's Read ended with %v", err)
	}
	if _, err := io.WriteString(denied, "secret"); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the program could still write: %v", err)
	}
	if n, err := client.Read(make([]byte, 1)); n != 0 || err == nil || err == io.EOF {
		t.Errorf("the client read %d bytes, %v: that looks like an orderly end", n, err)
	}
	if s := l.wait(t, 1)[0]; s.Reason != listener.ReasonIntentionRevoked || s.Peer != w.web.URI {
		t.Errorf("summary %+v", s)
	}
	if err := denied.Close(); err != nil {
		t.Error(err)
	}
	roundTrip(t, stays)
	if n := l.Live(); n != 1 {
		t.Errorf("%d connections are open, want 1", n)
	}
}

func TestAPeerThatIsDeniedWhileItWaitsIsNeverAccepted(t *testing.T) {
	w := newWorld(t)
	api := w.ca.Leaf(t, "api")
	o, in := w.inProcess()
	o.DialTimeout = time.Hour
	l := start(t, o)
	l.dialTLS(t, w.ca, w.web)
	listenertest.Eventually(t, "the client waits to be accepted", func() bool {
		all := l.Connections()
		return len(all) == 1 && all[0].Phase == "dial"
	})
	l.ClosePeers(func(string) bool { return true }, listener.ReasonIntentionRevoked)
	l.wait(t, 1)
	l.dialTLS(t, w.ca, api)
	if c := accept(t, in); c.Peer() != api.URI {
		t.Errorf("the program was given %q", c.Peer())
	}
}

func TestAClientThatTheProgramDoesNotAcceptIsSentElsewhere(t *testing.T) {
	w := newWorld(t)
	o, in := w.inProcess()
	o.DialTimeout = 50 * time.Millisecond
	l := start(t, o)
	for i, want := range []listener.Reason{listener.ReasonDialTimeout, listener.ReasonDialFailed} {
		c := l.dialTLS(t, w.ca, w.web)
		_, err := c.Read(make([]byte, 1))
		if why, ok := secure.RefusalOf(err); !ok || why != secure.RefusedService {
			t.Errorf("the client read %v", err)
		}
		if s := l.wait(t, i+1)[i]; s.Reason != want || s.Relayed {
			t.Errorf("summary %+v, want %s", s, want)
		}
		_ = in.Close()
		o.DialTimeout, o.Observer = 0, l.recorder
		l.Update(o)
	}
	if _, err := in.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept returned %v", err)
	}
}

func TestAProgramsConnectionsHaveTheLimitsOfOthers(t *testing.T) {
	w := newWorld(t)
	const limit = 300 * time.Millisecond
	for _, c := range []struct {
		reason listener.Reason
		set    func(*listener.Options)
	}{
		{listener.ReasonIdleTimeout, func(o *listener.Options) { o.IdleTimeout = limit }},
		{listener.ReasonMaxLifetime, func(o *listener.Options) { o.MaxLifetime = limit }},
		{listener.ReasonHalfCloseTimeout, func(o *listener.Options) { o.HalfCloseTimeout = limit }},
	} {
		t.Run(c.reason.String(), func(t *testing.T) {
			t.Parallel()
			o, in := w.inProcess()
			c.set(&o)
			l := start(t, o)
			began := time.Now()
			client := l.dialTLS(t, w.ca, w.web)
			own := accept(t, in)
			if c.reason == listener.ReasonHalfCloseTimeout {
				if err := own.CloseWrite(); err != nil {
					t.Fatal(err)
				}
				if _, err := client.Read(make([]byte, 1)); err != io.EOF {
					t.Errorf("the client read %v", err)
				}
			}
			_, err := own.Read(make([]byte, 1))
			if !errors.Is(err, net.ErrClosed) || !strings.Contains(err.Error(), c.reason.String()) {
				t.Errorf("Read ended with %v", err)
			}
			if took := time.Since(began); took < limit/2 {
				t.Errorf("it ended after %s", took)
			}
			if s := l.wait(t, 1)[0]; s.Reason != c.reason {
				t.Errorf("summary %+v", s)
			}
		})
	}
}

func TestDrainWaitsForAProgramsConnectionsAndThenCutsThem(t *testing.T) {
	w := newWorld(t)
	o, in := w.inProcess()
	l := start(t, o)
	l.dialTLS(t, w.ca, w.web)
	one := accept(t, in)
	l.dialTLS(t, w.ca, w.web)
	two := accept(t, in)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	drained := make(chan error, 1)
	go func() { drained <- l.Drain(ctx) }()
	_ = one.Close()
	l.wait(t, 1)
	cancel()
	if err := <-drained; !errors.Is(err, context.Canceled) {
		t.Errorf("Drain returned %v", err)
	}
	if _, err := two.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Read ended with %v", err)
	}
	for i, want := range []listener.Reason{listener.ReasonClosed, listener.ReasonDrain} {
		if s := l.wait(t, 2)[i]; s.Reason != want {
			t.Errorf("%s, want %s", s.Reason, want)
		}
	}
}

func TestAProgramDialsWithoutASocket(t *testing.T) {
	echo := listenertest.NewEcho(t)
	var counters relay.Counters
	l := startOn(t, listener.WithoutSocket(), listener.Options{
		Dial:     dialTo(echo.Addr()),
		Counters: func(listener.Open) *relay.Counters { return &counters },
	})
	c, err := l.Listener.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if all := l.Connections(); len(all) != 1 || all[0].Phase != "relay" || all[0].Instance.Address != echo.Addr() {
		t.Errorf("connections %+v", all)
	}
	if got := exchange(t, c, "hello"); got != "hello" {
		t.Errorf("the answer is %q", got)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	s := l.wait(t, 1)[0]
	if s.ToUpstream != 5 || s.ToClient != 5 || s.Reason != listener.ReasonClosed || s.Client.String() != "in-process" {
		t.Errorf("summary %+v", s)
	}
	if counters.ToUpstream() != 5 || counters.ToClient() != 5 {
		t.Errorf("counted %d and %d bytes", counters.ToUpstream(), counters.ToClient())
	}
}

func TestWhyNothingIsDialledIsReturnedAndToldToTheObserver(t *testing.T) {
	broken := errors.New("no instance")
	o := listener.Options{Dial: func(context.Context) (listener.Target, error) {
		return listener.Target{}, listener.WithReason(listener.ReasonNoEndpoints, broken)
	}}
	l := startOn(t, listener.WithoutSocket(), o)
	if _, err := l.Listener.Dial(t.Context()); !errors.Is(err, broken) {
		t.Errorf("Dial returned %v", err)
	}
	if s := l.wait(t, 1)[0]; s.Reason != listener.ReasonNoEndpoints {
		t.Errorf("summary %+v", s)
	}
	o.Dial = func(ctx context.Context) (listener.Target, error) { <-ctx.Done(); return listener.Target{}, ctx.Err() }
	l.Update(o)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := l.Listener.Dial(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Dial returned %v", err)
	}
	l.StopAccepting()
	if _, err := l.Listener.Dial(t.Context()); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Dial returned %v", err)
	}
	if n := l.Live(); n != 0 {
		t.Errorf("%d connections are open", n)
	}
}

func TestADialUnderWayEndsWithItsListener(t *testing.T) {
	begun := make(chan struct{})
	l := startOn(t, listener.WithoutSocket(), listener.Options{Dial: func(ctx context.Context) (listener.Target, error) {
		close(begun)
		<-ctx.Done()
		return listener.Target{}, ctx.Err()
	}})
	dialled := make(chan error, 1)
	go func() {
		_, err := l.Listener.Dial(context.Background())
		dialled <- err
	}()
	<-begun
	l.stop()
	if err := <-dialled; err == nil {
		t.Error("Dial returned a connection")
	}
}

func TestAnInstanceThatEndsADialledConnectionAtOnceIsBlamed(t *testing.T) {
	gone := listenertest.NewServer(t, func(*net.TCPConn) {})
	failed, released := make(chan error, 1), make(chan struct{}, 1)
	dial := dialTo(gone.Addr())
	l := startOn(t, listener.WithoutSocket(), listener.Options{Dial: func(ctx context.Context) (listener.Target, error) {
		target, err := dial(ctx)
		target.Failed = func(err error) { failed <- err }
		target.Release = func() { released <- struct{}{} }
		return target, err
	}})
	c, err := l.Listener.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("Read ended with %v", err)
	}
	_ = c.Close()
	select {
	case err := <-failed:
		if err == nil {
			t.Error("it is not said why")
		}
	case <-released:
		t.Error("the instance was not blamed")
	}
}

func TestEachConnectionOfAProgramIsToldOfOnceHoweverItEnds(t *testing.T) {
	w := newWorld(t)
	o, in := w.inProcess()
	o.MaxLifetime = 20 * time.Millisecond
	l := start(t, o)
	const clients = 60
	var work sync.WaitGroup
	for range 4 {
		work.Go(func() {
			for {
				c, err := in.Accept()
				if err != nil {
					return
				}
				work.Go(func() {
					defer c.Close()
					_, _ = io.Copy(c, c)
				})
			}
		})
	}
	for i := range clients {
		work.Go(func() {
			raw, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				return
			}
			defer raw.Close()
			c, err := (&secure.Config{TLS: w.ca.ClientTLS(w.web)}).Client(context.Background(), raw)
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, "hello")
			if i%2 == 0 {
				_, _ = io.Copy(io.Discard, c)
			}
			if i%3 == 0 {
				l.ClosePeers(func(string) bool { return true }, listener.ReasonIntentionRevoked)
			}
		})
	}
	listenertest.Eventually(t, "every client has ended", func() bool { _, n := l.counts(); return n == clients })
	_ = in.Close()
	work.Wait()
	opened := 0
	for _, s := range l.all() {
		if s.Relayed {
			opened++
		}
	}
	if n, closed := l.counts(); closed != clients || n != opened {
		t.Errorf("%d opened and %d closed were told of; of the closed %d had been opened", n, closed, opened)
	}
}

func TestTheZeroInProcessIsReady(t *testing.T) {
	w := newWorld(t)
	o, _ := w.inProcess()
	in := &listener.InProcess{}
	o.InProcess = in
	l := start(t, o)
	l.dialTLS(t, w.ca, w.web)
	if c := accept(t, in); c.Peer() != w.web.URI {
		t.Errorf("the program was given %q", c.Peer())
	}
	_ = in.Close()
	if _, err := in.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept returned %v", err)
	}
}

// Functions of the program that forget to say why there is no connection.
func TestWhatReturnsNeitherAConnectionNorAnErrorRefuses(t *testing.T) {
	nothing := func(context.Context) (listener.Target, error) { return listener.Target{}, nil }
	l := startOn(t, listener.WithoutSocket(), listener.Options{Dial: nothing})
	if c, err := l.Listener.Dial(t.Context()); err == nil {
		t.Errorf("Dial returned %v", c)
	}
	w := newWorld(t)
	for want, set := range map[listener.Reason]func(*listener.Options){
		listener.ReasonDialFailed: func(o *listener.Options) { o.Dial = nothing },
		listener.ReasonHandshakeFailed: func(o *listener.Options) {
			o.Handshake = func(context.Context, net.Conn) (listener.Session, error) {
				return listener.Session{SessionInfo: listener.SessionInfo{Peer: w.web.URI}}, nil
			}
		},
	} {
		o := w.public("")
		o.Dial = nothing
		set(&o)
		l := start(t, o)
		go func() { _, _ = (&secure.Config{TLS: w.ca.ClientTLS(w.web)}).Client(t.Context(), l.dial(t)) }()
		if s := l.wait(t, 1)[0]; s.Reason != want {
			t.Errorf("summary %+v, want %s", s, want)
		}
	}
}
