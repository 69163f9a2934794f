package cli

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"strings"

	"connect-proxy/connectproxy/adminapi"
)

const logLevelHelp = `Usage: connect-proxy loglevel [LEVEL] [-o json] [-admin-addr ADDRESS]

  Shows the level of a running proxy's log, or sets it to trace, debug, info,
  warn, error or off, until the proxy ends.

  Exit code 0: done. 1: no proxy is found, or it knows no such level. 2: wrong
  usage.`

func runLogLevel(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	level := ""
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		level, args = args[0], args[1:]
	}
	in, rest, code := inspect(ctx, "loglevel", args, stdout, stderr, nil)
	if in == nil {
		return code
	}
	if len(rest) > 0 {
		return usage(stderr, "loglevel: "+rest[0]+" is neither a flag nor a flag's value; the level stands first")
	}
	method, page := "GET", "/loglevel"
	if level != "" {
		method, page = "POST", page+"?level="+url.QueryEscape(level)
	}
	var now adminapi.LogLevel
	if err := in.client.do(ctx, method, page, &now); err != nil {
		return in.fail(err)
	}
	if in.json() {
		return printJSON(stdout, now)
	}
	fmt.Fprintln(stdout, printable(now.Level))
	return exitDrained
}
