// Command connect-proxy is a sidecar for Consul Connect: it represents one
// service in the mesh. See README.md for its use and docs/architecture.md for
// its parts.
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"os"
	"strings"
	"time"

	"github.com/hashicorp/cli"

	"connect-proxy/connectproxy/logwriter"
)

// What the process says by its exit code.
const (
	exitDrained = 0 // asked to stop, and stopped
	exitFailed  = 1 // something broke that waiting does not mend
	exitUsage   = 2 // the command line or the configuration is wrong
)

// lastWords is how long the end waits for whoever reads the log.
const lastWords = time.Second

func main() {
	logs := logwriter.Start(os.Stderr, logwriter.Options{})
	log.SetOutput(logs) //nolint:forbidigo // net/http's client has no other way to be told
	ctx, stop := untilSignal(context.Background(), logs)
	code := run(ctx, os.Args[1:], os.Stdout, logs)
	logs.Close(lastWords) // before stop: a second signal cuts this short too
	stop()
	os.Exit(code)
}

// run is the whole program: its result is the exit code. Help and the output of
// commands go to stdout; logs, what is wrong with the command line or the
// configuration, and what ended the program, to stderr.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	c := cli.NewCLI("connect-proxy", versionText())
	c.Autocomplete = false // it would edit the shell files of whoever asks for it
	c.HelpWriter, c.ErrorWriter = stdout, stderr
	c.Args = withCommand(args)
	c.HelpFunc = func(map[string]cli.CommandFactory) string { return helpText() }
	c.Commands = map[string]cli.CommandFactory{
		proxyCommand: func() (cli.Command, error) {
			return &command{help: helpText(), run: func(args []string) int { return runProxy(ctx, args, stderr) }}, nil
		},
		"validate": func() (cli.Command, error) {
			return &command{help: validateHelp, run: func(args []string) int { return runValidate(ctx, args, stdout, stderr) }}, nil
		},
		"version": func() (cli.Command, error) {
			return &command{help: versionHelp, run: func([]string) int { fmt.Fprintln(stdout, versionText()); return exitDrained }}, nil
		},
		"help": func() (cli.Command, error) {
			return &command{help: helpText(), run: func([]string) int { fmt.Fprintln(stdout, helpText()); return exitDrained }}, nil
		},
	}
	if name := c.Subcommand(); c.Commands[name] == nil && !c.IsHelp() && !c.IsVersion() {
		return usage(stderr, fmt.Sprintf("%q is no command; the commands are validate, version and help", name))
	}
	code, err := c.Run()
	if err != nil {
		return usage(stderr, err.Error())
	}
	return code
}

// proxyCommand stands for "no command": cli takes the first word without a dash
// for a command, which in `connect-proxy -proxy-id web` would be the flag's
// value.
const proxyCommand = "proxy"

// withCommand names the command that flags straight after the binary mean.
func withCommand(args []string) []string {
	if len(args) == 0 {
		return []string{proxyCommand}
	}
	switch args[0] {
	case "-h", "-help", "--help", "-v", "-version", "--version":
		return args
	}
	if strings.HasPrefix(args[0], "-") {
		return append([]string{proxyCommand}, args...)
	}
	return args
}

// command is one of ours in cli's terms.
type command struct {
	help string
	run  func(args []string) int
}

var _ cli.Command = (*command)(nil)

func (c *command) Help() string          { return c.help }
func (c *command) Synopsis() string      { return "" }
func (c *command) Run(args []string) int { return c.run(args) }

// usage reports problems and where help is.
func usage(stderr io.Writer, problems ...string) int {
	report(stderr, problems...)
	report(stderr, "see connect-proxy -help")
	return exitUsage
}

// report names every problem on a line of its own.
func report(stderr io.Writer, problems ...string) {
	for _, p := range problems {
		fmt.Fprintln(stderr, "connect-proxy: "+p)
	}
}
