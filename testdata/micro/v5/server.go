package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	merrors "go-micro.dev/v5/errors"
	"go-micro.dev/v5/server"
)

// Request and Response are of the methods whose codec is JSON.
type Request struct {
	Name     string `json:"name"`
	Size     int    `json:"size"`
	SleepMS  int    `json:"sleep_ms"`
	Messages int    `json:"messages"`
	// Journal is a file to which a line is added for each call that arrives.
	Journal string `json:"journal"`
}

type Response struct {
	Msg string `json:"msg"`
}

// Greeter answers with its name, so that an answer of another service is seen.
type Greeter struct{ name string }

func (g *Greeter) Hello(ctx context.Context, req *Request, rsp *Response) error {
	if req.Journal != "" {
		f, err := os.OpenFile(req.Journal, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		fmt.Fprintln(f, req.Name)
		f.Close()
	}
	if req.SleepMS > 0 {
		time.Sleep(time.Duration(req.SleepMS) * time.Millisecond)
	}
	rsp.Msg = g.name + " says hello to " + req.Name + strings.Repeat(".", req.Size)
	return nil
}

func (g *Greeter) Fail(ctx context.Context, req *Request, rsp *Response) error {
	return merrors.Conflict("greeter", "no hello for %s", req.Name)
}

func (g *Greeter) Proto(ctx context.Context, req *wrapperspb.StringValue, rsp *wrapperspb.StringValue) error {
	rsp.Value = g.name + " says hello to " + req.Value
	return nil
}

// Stream answers each message until the client ends the stream, and sends as many
// more as the first one asks for.
func (g *Greeter) Stream(ctx context.Context, stream server.Stream) error {
	for first := true; ; first = false {
		var req Request
		if err := stream.Recv(&req); err != nil {
			return nil
		}
		if first && req.Messages > 0 {
			for i := range req.Messages {
				if err := stream.Send(&Response{Msg: fmt.Sprintf("%s %06d", g.name, i)}); err != nil {
					return err
				}
			}
			return nil
		}
		if err := stream.Send(&Response{Msg: g.name + " says hello to " + req.Name}); err != nil {
			return err
		}
	}
}

// Collect takes messages until one says that it is the last, and answers with
// their number.
func (g *Greeter) Collect(ctx context.Context, stream server.Stream) error {
	for n := 1; ; n++ {
		var req Request
		if err := stream.Recv(&req); err != nil {
			return err
		}
		if req.Name == "last" {
			return stream.Send(&Response{Msg: g.name + " got " + strconv.Itoa(n)})
		}
	}
}

// listening makes a server with an address of its own.
func listening(service string, grpc bool) (server.Server, string, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, "", err
	}
	address := ln.Addr().String()
	ln.Close()
	return newServer(grpc, server.Name(service), server.Address(address), server.Registry(newRegistry()), server.Broker(newBroker())), address, nil
}

// serve runs a server until its standard input ends. It says its address first.
func serve(service string, grpc bool) error {
	s, address, err := listening(service, grpc)
	if err != nil {
		return err
	}
	if err := s.Handle(s.NewHandler(&Greeter{name: service})); err != nil {
		return err
	}
	if err := s.Start(); err != nil {
		return err
	}
	fmt.Println("ready", address)
	_, _ = io.Copy(io.Discard, os.Stdin)
	return s.Stop()
}
