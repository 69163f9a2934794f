//go:build linux

package peer

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Choices are variants of ours that show what a choice of its user costs.
func Choices() []Kind {
	choices := []Kind{
		variant("hybrid key exchange", "hybrid", variantOf{arguments: []string{"-tls-key-exchange", "hybrid"}}),
		variant("crypto/tls records", "crypto-tls", variantOf{arguments: []string{"-tls-records", "crypto/tls"}}),
	}
	for i := range choices {
		choices[i].Choice = true
	}
	return choices
}

// Observed is ours with every connection recorded and its metrics asked for.
func Observed() Kind {
	k := variant("observed", "observed", variantOf{})
	k.Observed = true
	return k
}

// variantOf is what a variant is instead of this tree's program without
// arguments.
type variantOf struct {
	// revision is one of the repository's, to be built.
	revision string
	// program is a command that stands for connect-proxy, if it is not to be
	// built.
	program   []string
	arguments []string
}

var variantNames = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,30}$`)

// Variant reads one from the command line: NAME=[@REVISION | PROGRAM...]
// [ARGUMENT...], in which arguments begin with a dash. Without a revision or a
// program it is this tree's.
func Variant(text string) (Kind, error) {
	name, rest, found := strings.Cut(text, "=")
	if !found || !variantNames.MatchString(name) {
		return Kind{}, fmt.Errorf("a variant is NAME=[@REVISION | PROGRAM] [-ARGUMENT...] with a name of small letters, digits and dashes, not %q", text)
	}
	var of variantOf
	words := strings.Fields(rest)
	for len(words) > 0 && !strings.HasPrefix(words[0], "-") {
		of.program = append(of.program, words[0])
		words = words[1:]
	}
	of.arguments = words
	if len(of.program) > 0 && strings.HasPrefix(of.program[0], "@") {
		if len(of.program) > 1 {
			return Kind{}, fmt.Errorf("variant %s: %s does not begin with a dash", name, of.program[1])
		}
		of.revision, of.program = of.program[0][1:], nil
	}
	if len(of.program) > 0 {
		path, err := exec.LookPath(of.program[0])
		if err == nil {
			path, err = filepath.Abs(path)
		}
		if err != nil {
			return Kind{}, fmt.Errorf("variant %s: %w", name, err)
		}
		of.program[0] = path
	}
	return variant(name, "variant-"+name, of), nil
}

func variant(name, service string, of variantOf) Kind {
	program := func(l *Lab) []string {
		switch {
		case of.revision != "":
			return []string{l.binary(service)}
		case len(of.program) > 0:
			return of.program
		}
		return []string{l.binary(Ours)}
	}
	return Kind{
		Name: name, Variant: true, Agent: true, Hybrid: slices.Contains(of.arguments, "hybrid"), service: service, limit: login,
		find: func(ctx context.Context, l *Lab) (string, error) {
			if err := l.buildVariant(ctx, service, of); err != nil {
				return "", err
			}
			version, err := l.output(ctx, append(program(l), "version")...)
			return strings.Join(append([]string{version}, of.arguments...), " "), err
		},
		program: func(l *Lab) []string { return append(program(l), of.arguments...) },
	}
}

// buildVariant builds what a variant needs and is not there yet.
func (l *Lab) buildVariant(ctx context.Context, service string, of variantOf) error {
	if err := l.needAgent(ctx); err != nil {
		return err
	}
	if of.revision == "" {
		if _, err := os.Stat(l.binary(Ours)); err == nil || len(of.program) > 0 {
			return nil
		}
		return l.goBuild(ctx, Ours, l.Root, ".", false)
	}
	tree := filepath.Join(l.Dir, service+"-tree")
	if err := os.Mkdir(tree, 0o700); err != nil {
		return fmt.Errorf("making room for revision %s: %w", of.revision, err)
	}
	archive := tree + ".tar"
	if _, err := l.output(ctx, "git", "-C", l.Root, "archive", "-o", archive, of.revision); err != nil {
		return err
	}
	if _, err := l.output(ctx, "tar", "-x", "-C", tree, "-f", archive); err != nil {
		return err
	}
	return l.goBuild(ctx, service, tree, ".", false)
}
