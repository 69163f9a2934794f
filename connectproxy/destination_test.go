package connectproxy

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"

	"connect-proxy/listener"
	"connect-proxy/upstream"
)

func TestAnUpstreamIsToldWhomAConnectionIsFor(t *testing.T) {
	o := dialling(upstream.Options{}, nil, &principal{})
	ln, err := listener.Listen(t.Context(), "tcp", "127.0.0.1:0", 0)
	if err != nil {
		t.Fatal(err)
	}
	told, heard := make(chan netip.AddrPort, 1), make(chan struct{})
	l, err := listener.New(ln, listener.Options{Dial: func(ctx context.Context) (listener.Target, error) {
		told <- o.Client(ctx)
		<-heard // an error resets the client's connection
		return listener.Target{}, errors.New("nowhere")
	}})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- l.Run(t.Context()) }()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		close(heard)
		t.Fatal(err)
	}
	defer c.Close()
	if got, want := <-told, c.LocalAddr().(*net.TCPAddr).AddrPort(); got != want {
		t.Errorf("told %s, want %s", got, want)
	}
	close(heard)
	if err := l.Drain(t.Context()); err != nil {
		t.Error(err)
	}
	<-done
}
