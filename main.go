// Command connect-proxy is a sidecar for Consul Connect: it represents one
// service in the mesh. See README.md for its use and docs/architecture.md for
// its parts.
package main

import (
	"context"
	"os"

	"connect-proxy/connectproxy/cli"
)

func main() {
	os.Exit(cli.Main(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
}
