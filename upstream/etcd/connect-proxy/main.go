// Command connect-proxy, of this directory, is the program with etcd as a source of
// destinations.
package main

import (
	"context"
	"io"
	"os"

	"google.golang.org/grpc/grpclog"

	"connect-proxy/config"
	"connect-proxy/connectproxy/cli"
)

func main() {
	// What gRPC has to say the resolver says, with its reason and once.
	grpclog.SetLoggerV2(grpclog.NewLoggerV2(io.Discard, io.Discard, io.Discard))
	ctx := cli.WithResolvers(context.Background(), cli.Resolvers{config.EtcdKeys: newResolver})
	os.Exit(cli.Main(ctx, os.Args[1:], os.Stdout, os.Stderr))
}
