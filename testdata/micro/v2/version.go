package main

import (
	"github.com/micro/go-micro/v2/broker"
	brokermemory "github.com/micro/go-micro/v2/broker/memory"
	"github.com/micro/go-micro/v2/client"
	grpcclient "github.com/micro/go-micro/v2/client/grpc"
	"github.com/micro/go-micro/v2/registry"
	registrymemory "github.com/micro/go-micro/v2/registry/memory"
	"github.com/micro/go-micro/v2/server"
	grpcserver "github.com/micro/go-micro/v2/server/grpc"
)

func newRegistry() registry.Registry { return registrymemory.NewRegistry() }
func newBroker() broker.Broker       { return brokermemory.NewBroker() }

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

func newHTTPBroker(options ...broker.Option) broker.Broker { return broker.NewBroker(options...) }
