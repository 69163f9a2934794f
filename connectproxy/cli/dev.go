package cli

import (
	"context"
	"flag"
	"fmt"
	"io"

	"connect-proxy/connectproxy/dev"
)

const devHelp = `Usage: connect-proxy dev [-http-addr ADDRESS] [-log-level LEVEL]

  Runs a whole mesh on this machine, with nothing to install, and prints what to
  try: an agent within the process, the services web and api, and a proxy for
  each as a child, launched as a Consul agent launches managed ones. It is for
  trying, testing and teaching: it binds the loopback alone, keeps nothing, and
  everybody on this machine may do everything with it. It ends with SIGINT or
  SIGTERM, or its terminal.

  -http-addr ADDRESS
      Where the agent listens, as 127.0.0.1:8500; port 0 is any. Default:
      127.0.0.1:8500, or any port where that is taken.

  -log-level LEVEL
      Least level that the proxies log: trace, debug, info, warn, error or off.
      Default: info.`

// runDev runs a mesh until ctx is done.
func runDev(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	fs := flag.NewFlagSet("dev", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	o := dev.Options{Out: stdout, Logs: stderr}
	fs.StringVar(&o.HTTPAddr, "http-addr", "", "")
	fs.StringVar(&o.LogLevel, "log-level", "info", "")
	if err := fs.Parse(args); err != nil {
		return usage(stderr, "dev: "+err.Error())
	}
	if fs.NArg() > 0 {
		return usage(stderr, fmt.Sprintf("dev: %q is neither a flag nor a flag's value", fs.Arg(0)))
	}
	if _, problems := newLogger(o.LogLevel, false, io.Discard); len(problems) > 0 {
		return usage(stderr, problems...)
	}
	mesh, err := dev.New(o)
	if err != nil {
		return usage(stderr, "dev: "+err.Error())
	}
	ctx, stop := untilHangup(ctx)
	defer stop()
	if err := mesh.Run(ctx); err != nil {
		report(stderr, "dev: "+err.Error())
		return exitFailed
	}
	return exitDrained
}
