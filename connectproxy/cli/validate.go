package cli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/hashicorp/go-hclog"

	"connect-proxy/config"
	"connect-proxy/connectproxy"
)

const validateHelp = `Usage: connect-proxy validate FILE...

  Reads each HCL or JSON file as -config-file would, without an agent and
  without opening a port, and names every mistake with file and line. The
  certificates, keys and CAs of its identity blocks are read too.

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
		if err == nil {
			err = readable(file, cfg)
		}
		if err != nil {
			code = exitUsage
			report(stderr, mistakes(err)...)
			continue
		}
		for _, w := range slices.Concat(cfg.Cautions(), cfg.Warnings, connectproxy.FileWarnings(cfg), metricWarnings(cfg.Telemetry)) {
			fmt.Fprintf(stdout, "%s: warning: %s\n", file, w)
		}
		fmt.Fprintf(stdout, "%s: valid: %s\n", file, summary(cfg))
	}
	return code
}

// metricWarnings say what a proxy would do otherwise than the settings of metrics
// may be meant.
func metricWarnings(t config.Telemetry) []string {
	_, warnings := t.Sinks()
	for _, tag := range t.Tags {
		switch name, _, found := strings.Cut(tag, "="); {
		case name == "":
			warnings = append(warnings, fmt.Sprintf("envoy_stats_tags %q: it has no name, and is left out; write name=value", tag))
		case !found:
			warnings = append(warnings, fmt.Sprintf("envoy_stats_tags %q: it has no value, and gets 1; write name=value", tag))
		}
	}
	return warnings
}

// parseFile reads a file as the proxy itself does.
func parseFile(ctx context.Context, path string) (*config.Config, error) {
	return config.NewFile(path, hclog.NewNullLogger()).Next(ctx)
}

// readable returns why files that a configuration names cannot be used; nil if they
// can.
func readable(file string, cfg *config.Config) error {
	if mistakes := connectproxy.FileMistakes(cfg); len(mistakes) > 0 {
		return &config.Invalid{Origin: file, Mistakes: mistakes}
	}
	return nil
}

// summary is what a configuration comes to, in one line.
func summary(cfg *config.Config) string {
	var parts []string
	if cfg.Service != "" {
		parts = append(parts, "service "+cfg.Service)
	}
	switch {
	case cfg.Public == nil:
	case cfg.Public.MicroEvents:
		parts = append(parts, fmt.Sprintf("public %s for events", cfg.Public.Bind))
	default:
		parts = append(parts, fmt.Sprintf("public %s to %s", cfg.Public.Bind, cfg.Public.Local))
	}
	for _, u := range cfg.Upstreams {
		parts = append(parts, fmt.Sprintf("upstream %s on %s", u.Destination, u.Bind))
	}
	if cfg.ByName != nil {
		parts = append(parts, fmt.Sprintf("by_name on %s", cfg.ByName.Bind))
	}
	if cfg.Micro.Listens() {
		parts = append(parts, fmt.Sprintf("micro on %s", cfg.Micro.Bind))
	}
	if cfg.Edge != nil {
		parts = append(parts, fmt.Sprintf("edge on %s", cfg.Edge.Bind))
	}
	return strings.Join(parts, ", ")
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
