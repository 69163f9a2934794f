// Command manpages writes the manual pages, in Markdown as go-md2man reads it:
// connect-proxy.1 of the help, and connect-proxy.hcl.5 of README.md's section on
// keys, so that neither says anything of its own.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"connect-proxy/connectproxy/cli"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: manpages README.md DIRECTORY")
		os.Exit(2)
	}
	if err := write(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "manpages: "+err.Error())
		os.Exit(1)
	}
}

func write(readme, dir string) error {
	text, err := os.ReadFile(readme)
	if err != nil {
		return err
	}
	keys, err := keysPage(string(text))
	if err != nil {
		return fmt.Errorf("%s: %w", readme, err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for name, page := range map[string]string{"connect-proxy.1.md": cli.ManPage(), "connect-proxy.hcl.5.md": keys} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(page), 0o644); err != nil {
			return err
		}
	}
	return nil
}
