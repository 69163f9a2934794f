package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"

	"go-micro.dev/v5/broker"
	"go-micro.dev/v5/client"
	"go-micro.dev/v5/metadata"
	"go-micro.dev/v5/registry"
)

// subscribe runs a service that says a line for each event of a topic, until its
// standard input ends. It says its address first.
func subscribe(service, topic string) error {
	s, address, err := listening(service, false)
	if err != nil {
		return err
	}
	handler := func(ctx context.Context, req *Request) error {
		from, _ := metadata.Get(ctx, "Micro-Topic")
		fmt.Println("event", from, req.Name)
		return nil
	}
	if err := s.Subscribe(s.NewSubscriber(topic, handler)); err != nil {
		return err
	}
	if err := s.Start(); err != nil {
		return err
	}
	fmt.Println("ready", address)
	_, _ = io.Copy(io.Discard, os.Stdin)
	return s.Stop()
}

// publish publishes each line of its standard input by the HTTP broker. With a
// proxy that is in its registry as the subscriber, and in no other.
func publish(topic, proxy string) error {
	r := newRegistry()
	if proxy != "" {
		if err := r.Register(&registry.Service{Name: "micro.http.broker", Version: "connect-proxy", Nodes: []*registry.Node{{
			Id: topic + "-connect-proxy", Address: proxy, Metadata: map[string]string{"broker": "http", "topic": topic},
		}}}); err != nil {
			return err
		}
	}
	b := newHTTPBroker(broker.Registry(r))
	if err := b.Init(); err != nil {
		return err
	}
	c := newClient(false, client.Registry(r), client.Broker(b), client.ContentType("application/json"))
	fmt.Println("ready")
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		if err := c.Publish(context.Background(), c.NewMessage(topic, &Request{Name: lines.Text()})); err != nil {
			return err
		}
	}
	return lines.Err()
}
