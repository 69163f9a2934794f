//go:build linux

package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/signal"
	"syscall"

	"connect-proxy/connectproxy/bench/load"
	"connect-proxy/connectproxy/bench/peer"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == peer.GuardCommand {
		signal.Ignore(os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
		peer.Guard(os.Stdin, peer.KillGroup)
		return
	}
	//nolint:forbidigo // this is a main
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	code := run(ctx, os.Args[1:])
	stop()
	os.Exit(code)
}

// run is the benchmark, or one of the processes that it starts of this program.
func run(ctx context.Context, args []string) int {
	var err error
	switch {
	case len(args) == 2 && args[0] == peer.ServeCommand:
		err = serve(ctx, args[1])
	case len(args) > 0 && args[0] == peer.BareCommand:
		err = peer.Bare(ctx, args[1:])
	case len(args) > 0 && args[0] == downloadCommand:
		err = runDownload(ctx, args[1:], os.Stdout)
	default:
		o, parsed := parse(args, os.Stderr)
		if !parsed {
			return 2
		}
		err = measure(ctx, o, os.Stdout)
	}
	switch {
	case ctx.Err() != nil && err != nil:
		fmt.Fprintln(os.Stderr, "bench: interrupted")
		return 1
	case err != nil:
		fmt.Fprintln(os.Stderr, "bench:", err)
		return 1
	}
	return 0
}

func serve(ctx context.Context, address string) error {
	ln, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("binding the application: %w", err)
	}
	return load.Serve(ctx, ln)
}
