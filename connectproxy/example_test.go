package connectproxy_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/hashicorp/consul/api"

	"connect-proxy/config"
	"connect-proxy/connectproxy"
)

// Run a proxy by a file until the process is told to end, then drain.
func Example() {
	client, err := api.NewClient(api.DefaultConfig())
	if err != nil {
		fmt.Println(err)
		return
	}
	proxy, err := connectproxy.New(connectproxy.Options{
		Source: config.NewFile("/etc/connect-proxy/web.hcl", nil),
		Client: client,
		Admin:  "127.0.0.1:19000",
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := proxy.Run(ctx); err != nil {
		fmt.Println(err)
	}
}

// A first configuration that cannot be used ends Run and names every mistake.
func ExampleProxy_Run() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "web.hcl")
	if err := os.WriteFile(file, []byte("service_name = \"web\"\ndrain_timeout = \"soon\"\n"), 0o600); err != nil {
		panic(err)
	}
	proxy, err := connectproxy.New(connectproxy.Options{Source: config.NewFile(file, nil), Client: new(api.Client)})
	if err != nil {
		panic(err)
	}
	err = proxy.Run(context.Background())
	var invalid *config.Invalid
	if errors.As(err, &invalid) {
		for _, mistake := range invalid.Mistakes {
			fmt.Println(mistake.Field, mistake.Value)
		}
	}
	// Output: drain_timeout "soon"
}

// New starts nothing, and Status may be asked for at any time.
func ExampleProxy_Status() {
	cfg := config.Config{Service: "web"}.WithDefaults()
	proxy, err := connectproxy.New(connectproxy.Options{
		Source: &config.Static{Config: &cfg},
		Client: new(api.Client),
	})
	if err != nil {
		panic(err)
	}
	s := proxy.Status()
	fmt.Println(s.Ready, s.Reasons)
	// Output: false [no configuration yet]
}
