package cli

import (
	"context"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
)

const completionHelp = `Usage: connect-proxy completion bash|zsh|fish

  Writes a file that completes this program's commands and flags in a shell:

    $ connect-proxy completion bash > /usr/share/bash-completion/completions/connect-proxy
    $ connect-proxy completion zsh > /usr/share/zsh/site-functions/_connect-proxy
    $ connect-proxy completion fish > /usr/share/fish/vendor_completions.d/connect-proxy.fish`

// runCompletion writes the file of one shell.
func runCompletion(_ context.Context, args []string, stdout, stderr io.Writer) int {
	var text string
	switch {
	case len(args) != 1:
	case args[0] == "bash":
		text = bashCompletion()
	case args[0] == "zsh":
		text = zshCompletion()
	case args[0] == "fish":
		text = fishCompletion()
	}
	if text == "" {
		return usage(stderr, "completion: name one shell: bash, zsh or fish")
	}
	fmt.Fprint(stdout, text)
	return exitDrained
}

// flagNames lists a command's flags, with their dash.
func (s subcommand) flagNames() []string {
	fs := flag.NewFlagSet(s.name, flag.ContinueOnError)
	if s.flags != nil {
		s.flags(fs)
	}
	return namesOf(fs)
}

func namesOf(fs *flag.FlagSet) []string {
	var names []string
	fs.VisitAll(func(f *flag.Flag) { names = append(names, "-"+f.Name) })
	return names
}

func bashCompletion() string {
	var b strings.Builder
	b.WriteString("# bash completion of connect-proxy\n_connect_proxy() {\n" +
		"  local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} words\n" +
		"  case $before in\n  -*-file|-ca-path|-client-cert|-client-key) mapfile -t COMPREPLY < <(compgen -f -- \"$word\"); return ;;\n" +
		"  -o) mapfile -t COMPREPLY < <(compgen -W 'table json' -- \"$word\"); return ;;\n  esac\n  case ${COMP_WORDS[1]} in\n")
	var first []string
	for _, s := range subcommands() {
		first = append(first, s.name)
		words := slices.Concat(s.words, s.flagNames())
		fmt.Fprintf(&b, "  %s) words='%s' ;;\n", s.name, strings.Join(words, " "))
	}
	first = append(first, namesOf(new(options).flagSet())...)
	fmt.Fprintf(&b, "  *) words='%s' ;;\n  esac\n  [ \"$COMP_CWORD\" -eq 1 ] && words='%[1]s'\n"+
		"  mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$word\")\n}\ncomplete -o default -F _connect_proxy connect-proxy\n", strings.Join(first, " "))
	return b.String()
}

func zshCompletion() string {
	var b strings.Builder
	b.WriteString("#compdef connect-proxy\n# zsh completion of connect-proxy\nlocal -a commands\nif (( CURRENT == 2 )); then\n  commands=(\n")
	for _, s := range subcommands() {
		fmt.Fprintf(&b, "    '%s:%s'\n", s.name, s.about)
	}
	b.WriteString("  )\n  _describe command commands\n  compadd -- " + strings.Join(namesOf(new(options).flagSet()), " ") + "\n  return\nfi\ncase ${words[2]} in\n")
	for _, s := range subcommands() {
		if all := slices.Concat(s.words, s.flagNames()); len(all) > 0 {
			fmt.Fprintf(&b, "  %s) compadd -- %s ;;\n", s.name, strings.Join(all, " "))
		}
	}
	b.WriteString("esac\n_files\n")
	return b.String()
}

func fishCompletion() string {
	var b strings.Builder
	b.WriteString("# fish completion of connect-proxy\n")
	for _, s := range subcommands() {
		fmt.Fprintf(&b, "complete -c connect-proxy -n __fish_use_subcommand -a %s -d '%s'\n", s.name, s.about)
		for _, w := range s.words {
			fmt.Fprintf(&b, "complete -c connect-proxy -n '__fish_seen_subcommand_from %s' -a %s\n", s.name, w)
		}
		for _, f := range s.flagNames() {
			fmt.Fprintf(&b, "complete -c connect-proxy -n '__fish_seen_subcommand_from %s' -o %s\n", s.name, strings.TrimPrefix(f, "-"))
		}
	}
	for _, f := range namesOf(new(options).flagSet()) {
		fmt.Fprintf(&b, "complete -c connect-proxy -n __fish_use_subcommand -o %s\n", strings.TrimPrefix(f, "-"))
	}
	return b.String()
}
