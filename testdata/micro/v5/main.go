// A server and a client of Micro for tests, that speak as that release does. The
// modules beside this one are made of these files too but for version.go, with the
// import path of their Go Micro in the place of this one.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
)

func main() {
	role := os.Args[1]
	fs := flag.NewFlagSet(role, flag.ExitOnError)
	service := fs.String("service", "greeter", "")
	grpc := fs.Bool("grpc", false, "speak gRPC")
	topic := fs.String("topic", "orders", "")
	proxy := fs.String("proxy", "", "")
	_ = fs.Parse(os.Args[2:])
	var err error
	switch role {
	case "serve":
		err = serve(*service, *grpc)
	case "call":
		err = callAll(*grpc)
	case "subscribe":
		err = subscribe(*service, *topic)
	case "publish":
		err = publish(*topic, *proxy)
	default:
		err = errors.New("serve, call, subscribe or publish?")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
