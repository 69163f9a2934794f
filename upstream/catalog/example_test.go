package catalog_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"

	"github.com/hashicorp/consul/api"

	"connect-proxy/upstream"
	"connect-proxy/upstream/catalog"
)

// A service of Consul's catalog is found through the agent, and one of its
// instances is dialled. The Dial here connects in plain TCP; in a mesh, it makes a
// TLS connection and verifies that the instance proves to be ep.Identity.
func ExampleCatalog_Chain() {
	db := greeter()
	defer db.Close()
	agent := agentThatKnows("db", db.Addr().(*net.TCPAddr).Port)
	defer agent.Close()
	client, err := api.NewClient(&api.Config{Address: agent.URL, HttpClient: agent.Client()}) // a program has api.DefaultConfig()
	if err != nil {
		panic(err)
	}

	// Run asks the agent for all destinations.
	found := catalog.New(catalog.Options{Client: client})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- found.Run(ctx) }()
	defer func() { cancel(); <-ended }()

	resolver := found.Chain(catalog.ChainOptions{Name: "db"})
	defer resolver.Close()
	u, err := upstream.New(upstream.Options{
		Name: "db", Resolver: resolver,
		Dial: func(ctx context.Context, ep upstream.Endpoint) (net.Conn, error) {
			fmt.Println("dialling", ep.ID, "as", ep.Identity.Service, "in", ep.Identity.Datacenter)
			return new(net.Dialer).DialContext(ctx, "tcp", ep.Address)
		},
	})
	if err != nil {
		panic(err)
	}
	defer u.Close()

	c, err := u.Dial(ctx) // waits for the agent's first answer
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Release()
	defer c.Close()
	text, _ := io.ReadAll(c)
	fmt.Printf("%s\n", text)
	// Output:
	// dialling node-1/db-1-proxy as db in dc1
	// hello
}

// What a prepared query finds can be looked at without a connection.
func ExampleCatalog_Query() {
	agent := agentThatKnows("db", 20000)
	defer agent.Close()
	client, err := api.NewClient(&api.Config{Address: agent.URL, HttpClient: agent.Client()})
	if err != nil {
		panic(err)
	}
	found := catalog.New(catalog.Options{Client: client})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- found.Run(ctx) }()
	defer func() { cancel(); <-ended }()

	resolver := found.Query(catalog.QueryOptions{Name: "nearest-db"})
	defer resolver.Close()
	resolver.Use(ctx) // waits for the agent's answer
	set, ok := resolver.Set()
	if !ok {
		fmt.Println(resolver.Status().Err)
		return
	}
	for _, ep := range set.Endpoints {
		fmt.Println(ep.ID, ep.Address, ep.Identity.Service)
	}
	// Output: node-1/db-1-proxy 127.0.0.1:20000 db
}

// agentThatKnows answers as the agent of a mesh does in which a service has one
// instance, behind a proxy at the port. It knows no discovery chains, as Consul did
// before version 1.6.
func agentThatKnows(service string, port int) *httptest.Server {
	entries := []api.ServiceEntry{{
		Node: &api.Node{Node: "node-1", Address: "127.0.0.1", Datacenter: "dc1"},
		Service: &api.AgentService{
			Kind: api.ServiceKindConnectProxy, ID: service + "-1-proxy", Service: service + "-proxy", Port: port,
			Proxy: &api.AgentServiceConnectProxyConfig{DestinationServiceName: service},
		},
		Checks: api.HealthChecks{{Node: "node-1", CheckID: "listening", Status: api.HealthPassing}},
	}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/health/connect/"+service, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Consul-Index", "1")
		_ = json.NewEncoder(w).Encode(entries)
	})
	mux.HandleFunc("GET /v1/query/nearest-"+service+"/execute", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]any{"Service": service, "Datacenter": "dc1", "Nodes": entries})
	})
	return httptest.NewServer(mux)
}

// greeter is a database that says hello to one client and hangs up.
func greeter() net.Listener {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	go func() {
		if c, err := ln.Accept(); err == nil {
			_, _ = io.WriteString(c, "hello")
			c.Close()
		}
	}()
	return ln
}
