package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"

	"github.com/hashicorp/go-hclog"

	"connect-proxy/config"
)

const validateHelp = `Usage: connect-proxy validate FILE...

  Reads each HCL or JSON file as -config-file would, without an agent and
  without opening a port, and names every mistake with file and line.

  Exit code 0: all files are valid. 2: one is not, or cannot be read.`

const versionHelp = `Usage: connect-proxy version

  Prints the version, the commit it was built from and the Go release.`

// runValidate says of each file what a proxy would do with it.
func runValidate(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	fs := flag.NewFlagSet("validate", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	if err := fs.Parse(args); err != nil {
		return usage(stderr, "validate: "+err.Error())
	}
	if fs.NArg() == 0 {
		return usage(stderr, "validate: name at least one file")
	}
	code := exitDrained
	for _, file := range fs.Args() {
		cfg, err := parseFile(ctx, file)
		if err != nil {
			code = exitUsage
			report(stderr, mistakes(err)...)
			continue
		}
		for _, w := range cfg.Warnings {
			fmt.Fprintf(stdout, "%s: warning: %s\n", file, w)
		}
		fmt.Fprintf(stdout, "%s: valid: %s\n", file, summary(cfg))
	}
	return code
}

// parseFile reads a file as the proxy itself does.
func parseFile(ctx context.Context, path string) (*config.Config, error) {
	return config.NewFile(path, hclog.NewNullLogger()).Next(ctx)
}

// summary is what a configuration comes to, in one line.
func summary(cfg *config.Config) string {
	s := "service " + cfg.Service
	if cfg.Public != nil {
		s += fmt.Sprintf(", public %s to %s", cfg.Public.Bind, cfg.Public.Local)
	}
	for _, u := range cfg.Upstreams {
		s += fmt.Sprintf(", upstream %s on %s", u.Destination, u.Bind)
	}
	return s
}

// mistakes puts each mistake of an error on a line of its own.
func mistakes(err error) []string {
	var invalid *config.Invalid
	if !errors.As(err, &invalid) {
		return []string{err.Error()}
	}
	var lines []string
	for _, m := range invalid.Mistakes {
		line := m.String()
		if m.Pos == "" {
			line = invalid.Origin + ": " + line
		}
		lines = append(lines, line)
	}
	return lines
}
