package connectproxy_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"path"

	"connect-proxy/config"
	"connect-proxy/connectproxy"
	"connect-proxy/connectproxy/register"
	"connect-proxy/listener"
)

// A service is in the mesh by itself: its callers arrive at a net.Listener, with
// their identities proved and the intentions in force.
func Example_service() {
	mesh := startExample() // an agent; a service has api.NewClient(api.DefaultConfig())
	defer mesh.stop()

	source, err := config.NewStatic(config.Config{
		Service: "greeter",
		Public:  &config.Public{Bind: config.Address{Host: "127.0.0.1", Port: mesh.port}},
	})
	if err != nil {
		panic(err)
	}
	callers := listener.NewInProcess()
	proxy, err := connectproxy.New(connectproxy.Options{
		Source: source, Client: mesh.client, InProcess: callers,
		Register: &register.Options{ID: "greeter-proxy", Name: "greeter-proxy", Address: "127.0.0.1"},
	})
	if err != nil {
		panic(err)
	}
	go proxy.Run(mesh.ctx)
	server := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, "hello, ", path.Base(r.Context().Value(peer{}).(string)))
		}),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, peer{}, c.(*listener.Conn).Peer())
		},
	}
	go server.Serve(callers)

	fmt.Println(mesh.call("web", "greeter"))
	// Output: hello, web
}

// peer is the key of a caller's identity in a request's context.
type peer struct{}

// A client reaches its upstreams without a local port, here for HTTP.
func ExampleProxy_Dial() {
	mesh := startExample()
	defer mesh.stop()
	mesh.serve("greeter", "hello") // by a proxy of its own

	source, err := config.NewStatic(config.Config{
		Service:   "web",
		Upstreams: []config.Upstream{{Destination: config.Destination{Name: "greeter"}}},
	})
	if err != nil {
		panic(err)
	}
	proxy, err := connectproxy.New(connectproxy.Options{Source: source, Client: mesh.client})
	if err != nil {
		panic(err)
	}
	go proxy.Run(mesh.ctx)
	client := &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
			name, _, err := net.SplitHostPort(address)
			if err != nil {
				return nil, err
			}
			return proxy.Dial(ctx, name)
		},
	}}
	defer client.CloseIdleConnections()
	answer, err := client.Get("http://greeter/")
	if err != nil {
		panic(err)
	}
	defer answer.Body.Close()
	text, _ := io.ReadAll(answer.Body)
	fmt.Println(string(text))
	// Output: hello
}

// A protocol whose request ends with the client's direction: the answer comes
// afterwards, over the same connection.
func ExampleProxy_Dial_halfClose() {
	mesh := startExample()
	defer mesh.stop()
	mesh.echo("lines")
	proxy := mesh.dialler("web", "lines")

	c, err := proxy.Dial(mesh.ctx, "lines")
	if err != nil {
		panic(err)
	}
	defer c.Close()
	fmt.Fprintln(c, "one")
	fmt.Fprintln(c, "two")
	if err := c.(*connectproxy.Conn).CloseWrite(); err != nil {
		panic(err)
	}
	for answer := bufio.NewScanner(c); answer.Scan(); {
		fmt.Println(answer.Text())
	}
	fmt.Println("from", path.Base(c.(*connectproxy.Conn).Peer()))
	// Output:
	// one
	// two
	// from lines
}
