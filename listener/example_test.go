package listener_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"

	"connect-proxy/listener"
)

// endings is an Observer that passes on how each connection ended.
type endings chan listener.Summary

func (endings) ConnOpened(listener.Open)        {}
func (e endings) ConnClosed(s listener.Summary) { e <- s }

// A listener without Handshake relays plain connections, as an upstream's does.
func ExampleListener() {
	ctx := context.Background()
	app := greeter()
	defer app.Close()
	ln, err := listener.Listen(ctx, "tcp", "127.0.0.1:0", 0)
	if err != nil {
		panic(err)
	}
	ended := make(endings, 1)
	l, err := listener.New(ln, listener.Options{
		Name:     "db",
		Observer: ended,
		Dial: func(ctx context.Context) (listener.Target, error) {
			c, err := listener.NewDialer().DialContext(ctx, "tcp", app.Addr().String())
			return listener.Target{Conn: c, Instance: listener.Instance{Address: app.Addr().String()}}, err
		},
	})
	if err != nil {
		panic(err)
	}
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()

	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		panic(err)
	}
	answer, _ := io.ReadAll(c)
	c.Close()
	fmt.Printf("%s\n", answer)

	s := <-ended
	fmt.Println(s.Listener, s.ToUpstream, s.ToClient, s.Reason)
	fmt.Println(l.Drain(ctx), <-done)
	// Output:
	// hello
	// db 0 5 closed
	// <nil> <nil>
}

// greeter is an application that says hello to one client and hangs up.
func greeter() net.Listener {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	go func() {
		if c, err := ln.Accept(); err == nil {
			_, _ = io.WriteString(c, "hello")
			c.Close()
		}
	}()
	return ln
}

// A DialFunc that knows more than "dial_failed" says so.
func ExampleWithReason() {
	errNone := errors.New("db: no healthy instance")
	dial := func(context.Context) (listener.Target, error) {
		return listener.Target{}, listener.WithReason(listener.ReasonNoEndpoints, errNone)
	}
	_, err := dial(context.Background())
	fmt.Println(err, errors.Is(err, errNone))
	// Output: db: no healthy instance true
}

// Whoever counts connections by reason declares a counter for each of them.
func ExampleReasons() {
	counters := map[listener.Reason]int{}
	for _, r := range listener.Reasons() {
		counters[r] = 0
	}
	_, counted := counters[listener.ReasonDenied]
	_, unknown := counters[listener.ReasonUnknown]
	fmt.Println(counted, unknown)
	// Output: true false
}
