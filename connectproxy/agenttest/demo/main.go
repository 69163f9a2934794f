package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	keep := flag.Bool("keep", false, "keep the mesh running until Ctrl-C")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	err := run(ctx, os.Stdout, *keep)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// run tells the story on out. Interrupted, it cleans up all the same.
func run(ctx context.Context, out io.Writer, keep bool) (err error) {
	dir, err := os.MkdirTemp("", "connect-proxy-demo-")
	if err != nil {
		return fmt.Errorf("making a temporary directory: %w", err)
	}
	m := &mesh{dir: dir, out: &story{w: out}}
	defer func() { err = errors.Join(err, m.cleanUp()) }()
	for _, step := range []func(context.Context) error{
		m.build, m.startServices, m.startAgent, m.launchProxies,
		m.sendRequests, m.showIdentities, m.deny, m.allow,
	} {
		if err := step(ctx); err != nil {
			if ctx.Err() != nil {
				return errors.New("interrupted") // in what is of no interest
			}
			return m.explain(err)
		}
	}
	m.lookFurther(keep)
	if keep {
		<-ctx.Done()
	}
	return nil
}
