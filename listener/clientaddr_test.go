package listener_test

import (
	"context"
	"net"
	"net/netip"
	"testing"

	"connect-proxy/listener"
	"connect-proxy/listener/listenertest"
)

func TestADialKnowsWhomItIsFor(t *testing.T) {
	app := listenertest.NewEcho(t)
	type key struct{}
	seen := make(chan netip.AddrPort, 1)
	allocations := make(chan float64, 1)
	l := start(t, listener.Options{Dial: func(ctx context.Context) (listener.Target, error) {
		below, cancel := context.WithCancel(context.WithValue(ctx, key{}, true))
		defer cancel()
		seen <- listener.ClientAddr(below)
		allocations <- testing.AllocsPerRun(100, func() { listener.ClientAddr(below) })
		return dialTo(app.Addr())(ctx)
	}})
	c := l.dial(t)
	if got := exchange(t, c, "hello"); got != "hello" {
		t.Fatalf("answer %q", got)
	}
	if got, want := <-seen, c.LocalAddr().(*net.TCPAddr).AddrPort(); got != want {
		t.Errorf("the dial is for %s, want %s", got, want)
	}
	if n := <-allocations; n != 0 {
		t.Errorf("%v allocations", n)
	}
	if got := listener.ClientAddr(t.Context()); got.IsValid() {
		t.Errorf("elsewhere it is for %s", got)
	}
}
