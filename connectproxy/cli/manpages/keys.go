package main

import (
	"errors"
	"fmt"
	"strings"
)

var errNoKeys = errors.New("there is no section \"## Keys\" with a table of four columns in it")

// keysPage is the manual page of the configuration file.
func keysPage(readme string) (string, error) {
	_, section, found := strings.Cut(readme, "\n## Keys\n")
	section, _, _ = strings.Cut(section, "\n## ")
	section, _, _ = strings.Cut(section, "\n### ")
	about, table, cut := strings.Cut(section, "\n| key |")
	if !found || !cut {
		return "", errNoKeys
	}
	var b strings.Builder
	b.WriteString("connect-proxy.hcl 5 \"\" \"connect-proxy\" \"File Formats\"\n====\n\n")
	b.WriteString("# NAME\n\nconnect-proxy.hcl - configuration of connect-proxy\n\n# DESCRIPTION\n")
	fmt.Fprintf(&b, "%s\n# KEYS\n", about)
	for line := range strings.Lines(table) {
		// key, default, unit, what
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if !strings.HasPrefix(line, "| `") || len(cells) != 4 {
			continue
		}
		unset, what := strings.TrimSpace(cells[1]), strings.TrimSpace(cells[3])
		fmt.Fprintf(&b, "\n**%s** (%s)\n: %s.", strings.Trim(cells[0], " `"), strings.TrimSpace(cells[2]), what)
		if unset != "" {
			fmt.Fprintf(&b, " Default: %s.", unset)
		}
		b.WriteString("\n")
	}
	b.WriteString("\n# SEE ALSO\n\n**connect-proxy**(1)\n")
	return b.String(), nil
}
