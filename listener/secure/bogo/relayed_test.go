package bogo

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"

	"connect-proxy/listener/relay"
)

// relayed is connect with a relay between the runner and the application. The
// relay resets a connection that was broken off; the runner is given the end
// that drain gives it on the other paths, since it may be writing when the alert
// comes.
func (f *flags) relayed(cfg *tls.Config, raw *net.TCPConn, first bool) error {
	outer, inner, err := tcpPair()
	if err != nil {
		return err
	}
	near, far, err := tcpPair()
	if err != nil {
		return err
	}
	defer far.Close()
	var work sync.WaitGroup
	defer work.Wait()
	work.Go(func() { join(raw, outer) })
	c, err := f.handshake(cfg, inner)
	if err != nil {
		drain(inner)
		_ = inner.Close()
		return err
	}
	cs := c.ConnectionState()
	engine := relay.New()
	defer engine.Close()
	done := make(chan relay.Result, 1)
	client, upstream := net.Conn(near), net.Conn(c)
	if f.server {
		client, upstream = upstream, client
	}
	engine.Start(client, upstream, relay.Options{}, func(r relay.Result) { done <- r })
	if err = f.exchange(far, cs, first); err == nil {
		_, err = io.Copy(io.Discard, far)
	}
	_ = far.Close()
	if r := <-done; r.End != relay.Clean {
		return fmt.Errorf("%s: %w", r.End, r.Err)
	}
	return err
}

// join passes on what comes from either side, ends too. A reset by the runner is
// passed on as one; one by the relay is given to the runner as an end.
func join(runner, ours *net.TCPConn) {
	var work sync.WaitGroup
	defer ours.Close()
	defer work.Wait()
	work.Go(func() {
		_, _ = io.Copy(runner, ours)
		_ = runner.CloseWrite()
	})
	// With the wrappers an error says whether it came from reading.
	_, err := io.Copy(struct{ io.Writer }{ours}, struct{ io.Reader }{runner})
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "read" {
		_ = ours.SetLinger(0)
		_ = ours.Close()
		return
	}
	if err != nil {
		_, _ = io.Copy(io.Discard, runner)
	}
	_ = ours.CloseWrite()
}

func tcpPair() (a, b *net.TCPConn, err error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	defer ln.Close()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		return nil, nil, err
	}
	d, err := ln.Accept()
	if err != nil {
		return nil, nil, err
	}
	return c.(*net.TCPConn), d.(*net.TCPConn), nil
}
