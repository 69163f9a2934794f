package main

import (
	"os"

	"go-micro.dev/v5/broker"
	"go-micro.dev/v5/client"
	grpcclient "go-micro.dev/v5/client/grpc"
	"go-micro.dev/v5/registry"
	"go-micro.dev/v5/registry/consul"
	"go-micro.dev/v5/server"
	grpcserver "go-micro.dev/v5/server/grpc"
)

func newRegistry() registry.Registry {
	if address := os.Getenv("MICRO_REGISTRY_ADDRESS"); address != "" {
		return consul.NewConsulRegistry(registry.Addrs(address))
	}
	return registry.NewMemoryRegistry()
}

func newBroker() broker.Broker                             { return broker.NewMemoryBroker() }
func newHTTPBroker(options ...broker.Option) broker.Broker { return broker.NewHttpBroker(options...) }

func newClient(grpc bool, o ...client.Option) client.Client {
	if grpc {
		return grpcclient.NewClient(o...)
	}
	return client.NewClient(o...)
}

func newServer(grpc bool, o ...server.Option) server.Server {
	if grpc {
		return grpcserver.NewServer(o...)
	}
	return server.NewServer(o...)
}
