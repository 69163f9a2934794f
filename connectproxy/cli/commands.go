package cli

import (
	"context"
	"flag"
	"fmt"
	"io"
	"strings"

	"github.com/hashicorp/cli"
)

// subcommand is a command besides running a proxy.
type subcommand struct {
	name, about, help string
	run               func(ctx context.Context, args []string, stdout, stderr io.Writer) int
	// flags binds the command's flags, for the completion; nil means none.
	flags func(*flag.FlagSet)
	// words are what may stand first.
	words []string
}

// subcommands are all of them, in the order of the help.
func subcommands() []subcommand {
	admin := func(fs *flag.FlagSet) { new(adminFlags).flags(fs) }
	text := func(tell func() string) func(context.Context, []string, io.Writer, io.Writer) int {
		return func(_ context.Context, _ []string, stdout, _ io.Writer) int {
			fmt.Fprintln(stdout, tell())
			return exitDrained
		}
	}
	all := []subcommand{
		{"run", "run a proxy, and a command as soon as it is ready", runHelp, runWith, func(fs *flag.FlagSet) { addFlags(fs, new(options).flagSet()) }, nil},
	}
	for _, k := range tunnelKinds {
		all = append(all, subcommand{k.name, k.what, k.help, k.run, func(fs *flag.FlagSet) { addFlags(fs, tunnelFlags(&tunnelOptions{kind: k}, new(options))) }, nil})
	}
	return append(all, []subcommand{
		{"check", "say whether a running proxy is well, and what is not", checkHelp, runCheck, func(fs *flag.FlagSet) { admin(fs); fs.Duration("wait", 0, "") }, nil},
		{"status", "show what a running proxy knows of itself", statusHelp, runStatus, admin, []string{"upstreams", "listeners", "certificates", "intentions", "config"}},
		{"connections", "list, follow or cut open connections", connectionsHelp, runConnections, func(fs *flag.FlagSet) { admin(fs); fs.Bool("watch", false, "") }, []string{"close"}},
		{"top", "show who talks to whom, on the whole screen", topHelp, runTop, admin, nil},
		{"explain", "walk the way from one service to another", explainHelp, runExplain, func(fs *flag.FlagSet) { addFlags(fs, explainFlags(&explanation{}, &adminFlags{}, &agentFlags{})) }, nil},
		{"loglevel", "show or set the log level of a running proxy", logLevelHelp, runLogLevel, admin, []string{"trace", "debug", "info", "warn", "error", "off"}},
		{"dev", "run a whole mesh on this machine, to try", devHelp, runDev, nil, nil},
		{"validate", "look into configuration files", validateHelp, runValidate, nil, nil},
		{"completion", "write a file that completes commands in a shell", completionHelp, runCompletion, nil, []string{"bash", "zsh", "fish"}},
		{"version", "print the version", versionHelp, text(versionText), nil, nil},
		{"help", "print this", "", text(helpText), nil, nil},
	}...)
}

// addFlags adds the flags of one set to another.
func addFlags(to, from *flag.FlagSet) {
	from.VisitAll(func(f *flag.Flag) { to.Var(f.Value, f.Name, f.Usage) })
}

// factories are the commands as package cli wants them.
func factories(ctx context.Context, stdout, stderr io.Writer) map[string]cli.CommandFactory {
	all := map[string]cli.CommandFactory{
		proxyCommand: func() (cli.Command, error) {
			return &command{help: helpText(), run: func(args []string) int { return runProxy(ctx, args, stdout, stderr) }}, nil
		},
	}
	for _, s := range subcommands() {
		all[s.name] = func() (cli.Command, error) {
			return &command{help: orElse(s.help, helpText()), run: func(args []string) int { return s.run(ctx, args, stdout, stderr) }}, nil
		}
	}
	return all
}

// commandNames lists the commands in words.
func commandNames() string {
	var names []string
	for _, s := range subcommands() {
		names = append(names, s.name)
	}
	last := len(names) - 1
	return strings.Join(names[:last], ", ") + " and " + names[last]
}
