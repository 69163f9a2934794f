package dynamic

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"connect-proxy/config"
	"connect-proxy/listener"
	"connect-proxy/listener/listenertest"
	"connect-proxy/listener/secure"
)

// startDialer runs a Dialer whose destinations lead to address.
func startDialer(t *testing.T, address string) (*Dialer, *listener.Listener, *Upstreams) {
	t.Helper()
	u := New(func(config.Destination) (Upstream, error) {
		f := &fakeUpstream{answered: make(chan struct{})}
		f.instances.Store(1)
		close(f.answered)
		f.dial = func(ctx context.Context) (listener.Target, error) {
			c, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
			return listener.Target{Conn: c, Instance: listener.Instance{Address: address, ID: "node/a", Attempts: 1}}, err
		}
		return f, nil
	})
	d := NewDialer(u)
	l, err := listener.New(d, listener.Options{Name: "test", Request: d.Request})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- l.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return d, l, u
}

func dial(t *testing.T, d *Dialer) *Conn {
	t.Helper()
	client := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 4242}
	c, err := d.Dial(t.Context(), Call{To: service("a"), User: "shop", Client: client})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	return c
}

func TestAConnectionOfOnesOwnCarriesBytesBothWaysUntilBothSidesAreDone(t *testing.T) {
	d, l, u := startDialer(t, listenertest.NewServer(t, func(c *net.TCPConn) {
		got, _ := io.ReadAll(c)
		_, _ = io.WriteString(c, strings.ToUpper(string(got)))
	}).Addr())
	c := dial(t, d)
	if i := c.Instance(); i.ID != "node/a" {
		t.Errorf("instance %+v", i)
	}
	listenertest.Eventually(t, "the connection is shown", func() bool {
		all := l.Connections()
		return len(all) == 1 && all[0].Destination == service("a") && all[0].User == "shop" && all[0].Client.String() == "127.0.0.1:4242"
	})
	if _, err := io.WriteString(c, "hello"); err != nil {
		t.Fatal(err)
	}
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(c); string(got) != "HELLO" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	listenertest.Eventually(t, "the destination has no user", func() bool { return u.List()[0].Users == 0 })
}

func TestAnAnswerThatIsCutShortIsAnErrorWithItsReasonAndNoEnd(t *testing.T) {
	d, _, _ := startDialer(t, listenertest.NewServer(t, func(c *net.TCPConn) {
		_, _ = io.WriteString(c, "half of")
		_, _ = c.Read(make([]byte, 1))
		_ = c.SetLinger(0)
	}).Addr())
	c := dial(t, d)
	if _, err := io.ReadFull(c, make([]byte, 7)); err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(c, "x")
	_, err := io.ReadAll(c)
	if err == nil || listener.ReasonOf(err) != listener.ReasonUpstreamReset {
		t.Errorf("%v", err)
	}
}

func TestAConnectionThatNeverWasIsNotSaidToHaveEnded(t *testing.T) {
	why := errors.New("dialling a: denied by the instance")
	for relayed, says := range map[bool]string{false: why.Error(), true: "the connection to a has ended: upstream_denied: " + why.Error()} {
		c := &Conn{ended: make(chan struct{})}
		s := listener.Summary{Reason: listener.ReasonUpstreamDenied, Err: why, Relayed: relayed}
		s.Destination = service("a")
		c.end(s)
		err := c.explain(io.ErrUnexpectedEOF)
		if err.Error() != says || listener.ReasonOf(err) != listener.ReasonUpstreamDenied || !errors.Is(err, why) {
			t.Errorf("relayed %t: %v", relayed, err)
		}
	}
}

func TestAHalfClosedConnectionOfOnesOwnStillSends(t *testing.T) {
	got := make(chan string, 1)
	d, _, _ := startDialer(t, listenertest.NewServer(t, func(c *net.TCPConn) {
		_ = c.CloseWrite()
		b, _ := io.ReadAll(c)
		got <- string(b)
	}).Addr())
	c := dial(t, d)
	if n, err := c.Read(make([]byte, 1)); err != io.EOF {
		t.Fatalf("%d, %v", n, err)
	}
	if _, err := io.WriteString(c, "still here"); err != nil {
		t.Fatal(err)
	}
	_ = c.CloseWrite()
	if s := <-got; s != "still here" {
		t.Errorf("%q", s)
	}
}

func TestADialInVainHasItsReasonAndLeavesNothingBehind(t *testing.T) {
	d, l, u := startDialer(t, listenertest.Refusing(t))
	_, err := d.Dial(t.Context(), Call{To: service("a")})
	if err == nil || listener.ReasonOf(err) != listener.ReasonDialFailed {
		t.Errorf("%v", err)
	}
	listenertest.Eventually(t, "nothing is left", func() bool { return l.Live() == 0 && u.List()[0].Users == 0 })
}

func TestADialThatIsGivenUpEndsAtOnce(t *testing.T) {
	dialling := make(chan struct{})
	u := New(func(config.Destination) (Upstream, error) {
		f := &fakeUpstream{answered: make(chan struct{})}
		f.instances.Store(1)
		close(f.answered)
		f.dial = func(ctx context.Context) (listener.Target, error) {
			close(dialling)
			<-ctx.Done()
			return listener.Target{}, ctx.Err()
		}
		return f, nil
	})
	d := NewDialer(u)
	l, err := listener.New(d, listener.Options{Name: "test", Request: d.Request, DialTimeout: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	running := make(chan error, 1)
	go func() { running <- l.Run(t.Context()) }()
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-dialling; cancel() }()
	if _, err := d.Dial(ctx, Call{To: service("a")}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if err := l.Drain(t.Context()); err != nil {
		t.Error(err)
	}
	if err := <-running; err != nil {
		t.Error(err)
	}
	if _, err := d.Dial(t.Context(), Call{To: service("a")}); !errors.Is(err, ErrClosed) {
		t.Errorf("after the end: %v", err)
	}
}

func TestACallThatIsEndedBeforeItIsAskedAboutIsOver(t *testing.T) {
	d := NewDialer(New(func(config.Destination) (Upstream, error) { return nil, ErrClosed }))
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		_, err := d.Dial(ctx, Call{To: service("a")})
		ended <- err
	}()
	c, err := d.Accept()
	if err != nil {
		t.Fatal(err)
	}
	secure.Abort(c) // as a listener does that is full, or about to end
	if err := <-ended; !errors.Is(err, ErrClosed) {
		t.Errorf("%v", err)
	}
}

// The listener may end a call while its Dial gives up: whichever comes first, the
// goroutine that is told of the other must not wait for anybody.
func TestTheEndOfACallWaitsForNobody(t *testing.T) {
	d := NewDialer(New(func(config.Destination) (Upstream, error) { return nil, ErrClosed }))
	ctx, cancel := context.WithCancel(t.Context())
	given := make(chan error, 1)
	go func() {
		_, err := d.Dial(ctx, Call{To: service("a")})
		given <- err
	}()
	c, err := d.Accept()
	if err != nil {
		t.Fatal(err)
	}
	r, err := d.Request(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-given; !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	secure.Abort(c)
	told := make(chan struct{})
	go func() {
		defer close(told)
		r.Refused(listener.ReasonShutdown, ErrClosed)
	}()
	select {
	case <-told:
	case <-time.After(10 * time.Second):
		t.Fatal("the listener's goroutine waits for a Dial that has given up")
	}
}
