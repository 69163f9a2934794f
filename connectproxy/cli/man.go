package cli

import (
	"flag"
	"fmt"
	"strings"
)

// ManPage is the manual page of the command line, in Markdown as go-md2man reads
// it: what -help prints, in the form of a manual.
func ManPage() string {
	var b strings.Builder
	fmt.Fprintf(&b, "connect-proxy 1 \"\" \"connect-proxy %s\" \"User Commands\"\n====\n\n", version)
	b.WriteString("# NAME\n\nconnect-proxy - sidecar for Consul Connect\n\n# SYNOPSIS\n\n")
	usage, rest, _ := strings.Cut(helpHead, "\n\n")
	for line := range strings.Lines(usage) {
		fmt.Fprintf(&b, "    %s\n", strings.TrimSpace(strings.TrimPrefix(line, "Usage:")))
	}
	about, examples, _ := strings.Cut(rest, "Examples\n")
	fmt.Fprintf(&b, "\n# DESCRIPTION\n\n%s\n", unindented(about))
	fs := new(options).flagSet()
	b.WriteString("# OPTIONS\n")
	for _, g := range flagGroups {
		fmt.Fprintf(&b, "\n## %s\n", g.title)
		for _, name := range g.names {
			writeManFlag(&b, fs.Lookup(name))
		}
	}
	fmt.Fprintf(&b, "\n# EXAMPLES\n%s\n", examples)
	environment, codes, _ := strings.Cut(strings.TrimPrefix(helpTail, "\nEnvironment\n"), "Exit codes\n")
	fmt.Fprintf(&b, "# ENVIRONMENT\n%s\n# EXIT STATUS\n", unindented(environment))
	for line := range strings.Lines(strings.TrimSpace(codes)) {
		code, what, _ := strings.Cut(strings.TrimSpace(line), "  ")
		fmt.Fprintf(&b, "\n**%s**\n: %s\n", code, what)
	}
	b.WriteString("\n# SEE ALSO\n\n**connect-proxy.hcl**(5)\n")
	return b.String()
}

func writeManFlag(b *strings.Builder, f *flag.Flag) {
	arg, text := flag.UnquoteUsage(f)
	fmt.Fprintf(b, "\n**-%s**", f.Name)
	if arg != "" {
		fmt.Fprintf(b, " *%s*", strings.ToUpper(arg))
	}
	fmt.Fprintf(b, "\n: %s\n", escaped(text+defaultText(f)))
}

// unindented takes the two spaces off that the help's paragraphs begin with.
func unindented(text string) string {
	return escaped(strings.TrimPrefix(strings.ReplaceAll(text, "\n  ", "\n"), "  "))
}

// escaped keeps Markdown from reading names such as CONSUL_HTTP_ADDR as
// emphasis.
func escaped(text string) string {
	return strings.NewReplacer("_", `\_`, "*", `\*`, "<", `\<`).Replace(text)
}
