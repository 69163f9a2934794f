package cli

import (
	"context"
	"net"
	"testing"

	"connect-proxy/connectproxy/devagent"
)

// startDevAgent runs an agent in this process and gives its address.
func startDevAgent(t *testing.T) string {
	t.Helper()
	a, err := devagent.New(devagent.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); _ = a.Run(ctx, ln) }()
	t.Cleanup(func() { cancel(); <-done })
	return ln.Addr().String()
}
