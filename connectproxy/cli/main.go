package cli

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

// logGather is how long log lines wait that come soon after others: a busy proxy
// logs a hundred a second, and a write for each would cost more than all else
// about them.
const logGather = 50 * time.Millisecond

// Main is the whole program, signals included; the caller exits with its
// result. Standard error is written by a goroutine that drops what nobody reads.
// A second signal ends the process from within.
func Main(ctx context.Context, args []string, stdout, stderr *os.File) (code int) {
	logs := logwriter.Start(stderr, logwriter.Options{Gather: logGather})
	log.SetOutput(httpLog{logs}) //nolint:forbidigo // net/http's client has no other way to be told
	ctx, stop := untilSignal(ctx, logs)
	code = Run(ctx, args, stdout, logs)
	logs.Close(lastWords) // before stop: a second signal cuts this short too
	stop()
	return code
}

// Run is the program without its signals: it runs the command that args name
// until that ends or ctx is done, and returns the exit code: 0 done, or asked to
// stop and stopped; 1 something broke that waiting does not mend; 2 the command
// line or the configuration is wrong. Help and the output of commands go to
// stdout; logs, what is wrong with the command line or the configuration, and
// what ended the program, to stderr.
func Run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	c := cli.NewCLI("connect-proxy", versionText())
	c.Autocomplete = false // it would edit the shell files of whoever asks for it
	c.HelpWriter, c.ErrorWriter = stdout, stderr
	c.Args = withCommand(args)
	c.HelpFunc = func(map[string]cli.CommandFactory) string { return helpText() }
	c.Commands = factories(ctx, stdout, stderr)
	if name := c.Subcommand(); c.Commands[name] == nil && !c.IsHelp() && !c.IsVersion() {
		return usage(stderr, fmt.Sprintf("%q is no command; the commands are %s", name, commandNames()))
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

// usageOf reports problems of a command and where its help is.
func usageOf(stderr io.Writer, command string, problems ...string) int {
	for _, p := range problems {
		report(stderr, command+": "+p)
	}
	report(stderr, "see connect-proxy "+command+" -help")
	return exitUsage
}
