package main

import (
	"go-micro.dev/v4/broker"
	"go-micro.dev/v4/client"
	"go-micro.dev/v4/registry"
	"go-micro.dev/v4/server"
)

func newRegistry() registry.Registry { return registry.NewMemoryRegistry() }
func newBroker() broker.Broker       { return broker.NewMemoryBroker() }

func newClient(_ bool, o ...client.Option) client.Client { return client.NewClient(o...) }
func newServer(_ bool, o ...server.Option) server.Server { return server.NewServer(o...) }

func newHTTPBroker(options ...broker.Option) broker.Broker { return broker.NewBroker(options...) }
