package upstream_test

import (
	"context"
	"errors"
	"fmt"
	"net"

	"connect-proxy/upstream"
)

// dial connects without TLS. One that is used in a mesh proves the identity of
// the endpoint too.
func dial(ctx context.Context, ep upstream.Endpoint) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, "tcp", ep.Address)
}

// closedPort is an address that refuses connections.
func closedPort() string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// An instance that refuses costs no connection while another one answers.
func ExampleUpstream_Dial() {
	app, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	defer app.Close()

	u, err := upstream.New(upstream.Options{
		Name: "db",
		Resolver: upstream.Fixed("db", upstream.Set{Ordered: true, Endpoints: []upstream.Endpoint{
			{ID: "node-1/db", Address: closedPort()},
			{ID: "node-2/db", Address: app.Addr().String()},
		}}),
		Dial: dial,
	})
	if err != nil {
		panic(err)
	}
	defer u.Close()
	c, err := u.Dial(context.Background())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Release()
	defer c.Close()
	fmt.Println("connected to", c.Endpoint.ID)
	// Output: connected to node-2/db
}

// When every instance has failed, the error says how each of them did.
func ExampleDialError() {
	u, err := upstream.New(upstream.Options{
		Name:     "db",
		Resolver: upstream.Fixed("db", upstream.Set{Endpoints: []upstream.Endpoint{{ID: "node-1/db", Address: closedPort()}}}),
		Dial:     dial,
	})
	if err != nil {
		panic(err)
	}
	defer u.Close()
	_, err = u.Dial(context.Background())
	var failed *upstream.DialError
	if errors.As(err, &failed) {
		for _, attempt := range failed.Attempts {
			fmt.Println(attempt.Instance, attempt.Reason())
		}
	}
	// Output: node-1/db refused
}
