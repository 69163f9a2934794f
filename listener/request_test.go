package listener_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"connect-proxy/listener"
	"connect-proxy/listener/listenertest"
)

type named string

func (n named) String() string { return string(n) }

// lineRequest reads a line that names the far side, and answers with another.
func lineRequest(dial listener.DialFunc) listener.RequestFunc {
	return func(_ context.Context, raw net.Conn) (listener.Request, error) {
		var line []byte
		b := make([]byte, 64)
		for !strings.Contains(string(line), "\n") {
			n, err := raw.Read(b)
			if err != nil {
				return listener.Request{}, err
			}
			line = append(line, b[:n]...)
		}
		name, rest, _ := strings.Cut(string(line), "\n")
		r := listener.Request{
			Destination: named(name), User: "shop", Sent: []byte(rest), Dial: dial,
			Granted: func(_ context.Context, i listener.Instance) error {
				_, err := io.WriteString(raw, "to "+i.Address+"\n")
				return err
			},
			Refused: func(r listener.Reason, _ error) { _, _ = fmt.Fprintf(raw, "no: %s\n", r) },
		}
		if name == "serve" {
			r.Serve = func(_ context.Context, c net.Conn) { _, _ = io.WriteString(c, "served\n") }
		}
		return r, nil
	}
}

func TestAClientIsConnectedToWhatItAsksForAndToldBeforeTheFirstByte(t *testing.T) {
	echo := listenertest.NewEcho(t)
	l := start(t, listener.Options{Request: lineRequest(dialTo(echo.Addr()))})
	c := l.dial(t)
	_, _ = io.WriteString(c, "db\nearly ")
	l.waitOpened(t, 1)
	_, _ = io.WriteString(c, "late")
	_ = c.CloseWrite()
	got, err := io.ReadAll(c)
	if want := "to " + echo.Addr() + "\nearly late"; string(got) != want || err != nil {
		t.Errorf("%q, %v; want %q", got, err, want)
	}
	s := l.wait(t, 1)[0]
	if s.Destination != named("db") || s.User != "shop" || s.Reason != listener.ReasonClosed || s.ToUpstream != 10 {
		t.Errorf("%+v", s)
	}
}

func TestAClientIsToldWhyItGetsNoFarSide(t *testing.T) {
	l := start(t, listener.Options{Request: lineRequest(func(context.Context) (listener.Target, error) {
		return listener.Target{}, listener.WithReason(listener.ReasonNoEndpoints, errors.New("none"))
	})})
	c := l.dial(t)
	_, _ = io.WriteString(c, "db\n")
	got, err := io.ReadAll(c)
	if string(got) != "no: no_endpoints\n" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if s := l.wait(t, 1)[0]; s.Reason != listener.ReasonNoEndpoints || s.Relayed || s.Destination != named("db") {
		t.Errorf("%+v", s)
	}
}

func TestAClientThatStopsInTheMiddleOfItsRequestIsBoundedAsAStrangerIs(t *testing.T) {
	echo := listenertest.NewEcho(t)
	o := listener.Options{
		Request: lineRequest(dialTo(echo.Addr())), HandshakeTimeout: 200 * time.Millisecond, MaxHandshakes: 1, MaxConnections: 1,
	}
	l := start(t, o)
	slow := l.dial(t)
	_, _ = io.WriteString(slow, "d")
	_, _ = io.ReadAll(slow)
	if s := l.wait(t, 1)[0]; s.Reason != listener.ReasonHandshakeTimeout {
		t.Errorf("%+v", s)
	}
	// Neither place is taken any more, for a client that is given more time.
	o.HandshakeTimeout, o.Observer = 0, l.recorder
	l.Update(o)
	c := l.dial(t)
	_, _ = io.WriteString(c, "db\n")
	l.waitOpened(t, 1)
	// Now the one for connections is.
	l.expectRefused(t)
	_ = c.Close()
	if n := echo.Accepted(); n != 1 {
		t.Errorf("%d connections at the far side", n)
	}
}

func TestARequestThatIsServedHasNoFarSideAndEndsWhenItIsCut(t *testing.T) {
	l := start(t, listener.Options{Request: lineRequest(dialTo("127.0.0.1:1"))})
	c := l.dial(t)
	_, _ = io.WriteString(c, "serve\n")
	if got, err := io.ReadAll(c); string(got) != "served\n" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if s := l.wait(t, 1)[0]; s.Reason != listener.ReasonClosed || s.Relayed || !s.Served {
		t.Errorf("%+v", s)
	}

	l = start(t, listener.Options{Request: func(context.Context, net.Conn) (listener.Request, error) {
		return listener.Request{Destination: named("x"), Serve: func(ctx context.Context, _ net.Conn) { <-ctx.Done() }}, nil
	}})
	c = l.dial(t)
	_, _ = io.WriteString(c, "x")
	listenertest.Eventually(t, "the client is served", func() bool {
		all := l.Connections()
		return len(all) == 1 && all[0].Phase == "serve" && all[0].Destination == named("x")
	})
	l.CloseConnection(l.Connections()[0].ID, listener.ReasonShutdown)
	if s := l.wait(t, 1)[0]; s.Reason != listener.ReasonShutdown {
		t.Errorf("%+v", s)
	}
}

func TestAListenerHasOneWayToKnowWhereItsClientsGo(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	request := lineRequest(nil)
	if _, err := listener.New(ln, listener.Options{Request: request, Dial: dialTo("127.0.0.1:1")}); err == nil {
		t.Error("a request and a dial are taken")
	}
	if _, err := listener.New(ln, listener.Options{}); err == nil {
		t.Error("neither is taken")
	}
}
