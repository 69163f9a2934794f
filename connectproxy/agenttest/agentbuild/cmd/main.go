// Command cmd builds the pinned Consul agents that are named as arguments and
// prints the path of each binary, one a line:
//
//	go run ./connectproxy/agenttest/agentbuild/cmd managed modern
//
// Progress goes to standard error. It exits 1 when a build fails and 2 when an
// argument names no agent.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"

	"connect-proxy/connectproxy/agenttest/agentbuild"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	code := run(ctx, os.Args[1:])
	stop()
	os.Exit(code)
}

func run(ctx context.Context, names []string) int {
	var releases []agentbuild.Release
	for _, name := range names {
		r, err := agentbuild.Named(name)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 2
		}
		releases = append(releases, r)
	}
	for _, r := range releases {
		path, err := agentbuild.Path(ctx, r, os.Stderr)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		fmt.Println(path)
	}
	return 0
}
