package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// serve runs a server until its standard input ends, in an orderly way. It says its
// address first.
func serve(service string) error {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s := grpc.NewServer(grpc.MaxRecvMsgSize(64 << 20))
	g := greeter{service}
	s.RegisterService(&grpc.ServiceDesc{
		ServiceName: service + ".Greeter",
		Methods: []grpc.MethodDesc{
			{MethodName: "Hello", Handler: unary(g.hello)},
			{MethodName: "Fail", Handler: unary(g.fail)},
		},
		Streams: []grpc.StreamDesc{
			{StreamName: "Echo", Handler: g.echo, ClientStreams: true, ServerStreams: true},
			{StreamName: "Count", Handler: g.count, ClientStreams: true, ServerStreams: true},
			{StreamName: "Collect", Handler: g.collect, ClientStreams: true, ServerStreams: true},
		},
	}, nil)
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		s.GracefulStop()
	}()
	fmt.Println("ready", ln.Addr())
	return s.Serve(ln)
}

func unary(f func(context.Context, string) (string, error)) grpc.MethodHandler {
	return func(_ any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
		in := new(wrapperspb.StringValue)
		if err := decode(in); err != nil {
			return nil, err
		}
		out, err := f(ctx, in.Value)
		return wrapperspb.String(out), err
	}
}

type greeter struct{ name string }

func (g greeter) hello(ctx context.Context, name string) (string, error) {
	_ = grpc.SetHeader(ctx, metadata.Pairs("header", "in front"))
	_ = grpc.SetTrailer(ctx, metadata.Pairs("trailer-bin", "behind \x01\xff"))
	if v := metadata.ValueFromIncomingContext(ctx, "journal"); len(v) > 0 && v[0] != "" {
		if err := os.WriteFile(v[0], []byte(name), 0o600); err != nil {
			return "", err
		}
	}
	if n := number(ctx, "sleep-ms"); n > 0 {
		select {
		case <-time.After(time.Duration(n) * time.Millisecond):
		case <-ctx.Done():
			return "", status.FromContextError(ctx.Err()).Err()
		}
	}
	return g.name + " says hello to " + name, nil
}

func (g greeter) fail(_ context.Context, name string) (string, error) {
	return "", status.Error(codes.FailedPrecondition, "100 % no hello for "+name)
}

func (g greeter) echo(_ any, st grpc.ServerStream) error {
	in := new(wrapperspb.StringValue)
	for {
		switch err := st.RecvMsg(in); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		if err := st.SendMsg(in); err != nil {
			return err
		}
	}
}

func (g greeter) count(_ any, st grpc.ServerStream) error {
	in := new(wrapperspb.StringValue)
	if err := st.RecvMsg(in); err != nil {
		return err
	}
	for range number(st.Context(), "messages") {
		if err := st.SendMsg(in); err != nil {
			return err
		}
	}
	return nil
}

func (g greeter) collect(_ any, st grpc.ServerStream) error {
	in := new(wrapperspb.StringValue)
	for n := 0; ; n++ {
		switch err := st.RecvMsg(in); {
		case errors.Is(err, io.EOF):
			return st.SendMsg(wrapperspb.String(fmt.Sprintf("%s got %d", g.name, n)))
		case err != nil:
			return err
		}
	}
}

// number is a number of the caller's metadata.
func number(ctx context.Context, key string) int {
	n := 0
	if v := metadata.ValueFromIncomingContext(ctx, key); len(v) > 0 {
		n, _ = strconv.Atoi(v[0])
	}
	return n
}
