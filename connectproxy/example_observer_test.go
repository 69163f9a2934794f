package connectproxy_test

import (
	"fmt"
	"io"
	"path"

	"connect-proxy/config"
	"connect-proxy/connectproxy"
	"connect-proxy/listener"
)

// ended hands on what is to be told of connections that have ended. It is called on
// the way of connections, and so leaves out what nobody takes in time.
type ended chan listener.Summary

func (e ended) ConnOpened(listener.Open) {}

func (e ended) ConnClosed(s listener.Summary) {
	select {
	case e <- s:
	default:
	}
}

// A program learns of every connection when it begins to be relayed, and when it has
// ended: by whom, how much, and why.
func ExampleOptions_observer() {
	mesh := startExample()
	defer mesh.stop()
	mesh.echo("lines")

	source, err := config.NewStatic(config.Config{
		Service:   "web",
		Upstreams: []config.Upstream{{Destination: config.Destination{Name: "lines"}}},
	})
	if err != nil {
		panic(err)
	}
	connections := make(ended, 100)
	proxy, err := connectproxy.New(connectproxy.Options{Source: source, Client: mesh.client, Observer: connections})
	if err != nil {
		panic(err)
	}
	go proxy.Run(mesh.ctx)

	c, err := proxy.Dial(mesh.ctx, "lines")
	if err != nil {
		panic(err)
	}
	fmt.Fprint(c, "hello")
	if err := c.(*connectproxy.Conn).CloseWrite(); err != nil {
		panic(err)
	}
	io.Copy(io.Discard, c)
	c.Close()
	s := <-connections
	fmt.Println("with", path.Base(s.Peer)+":", s.ToUpstream, "bytes there,", s.ToClient, "back,", s.Reason)
	// Output: with lines: 5 bytes there, 5 back, closed
}
