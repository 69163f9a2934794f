package cli

import (
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"connect-proxy/config"
)

// block is a piece of code that README.md prints under a name, which stands
// behind the language: ```hcl managed.
type block struct{ name, text string }

// printed gives the blocks of that name.
func printed(t *testing.T, name string) []block {
	t.Helper()
	var found []block
	for _, m := range regexp.MustCompile("(?ms)^```(\\w+) ([^\n]+)\n(.*?)^```$").FindAllStringSubmatch(readme(t), -1) {
		if first, _, _ := strings.Cut(m[2], " "); first == name {
			found = append(found, block{name: m[1] + " " + m[2], text: m[3]})
		}
	}
	if len(found) == 0 {
		t.Fatalf("README.md has no code named %q", name)
	}
	return found
}

func readme(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// configFiles are the files that README.md prints, by their names.
func configFiles(t *testing.T) map[string]string {
	t.Helper()
	files := map[string]string{}
	for _, b := range printed(t, "file") {
		if name, ok := strings.CutPrefix(b.name, "hcl file "); ok {
			files[name] = b.text
		}
	}
	return files
}

// commands are the lines of the shell block of that name, in words, without the
// program's own.
func commands(t *testing.T, name string) [][]string {
	t.Helper()
	var lines [][]string
	for _, b := range printed(t, name) {
		if !strings.HasPrefix(b.name, "sh ") {
			continue
		}
		for line := range strings.Lines(b.text) {
			words := strings.Fields(line)
			if words[0] != "connect-proxy" {
				t.Fatalf("%q runs something else", line)
			}
			lines = append(lines, words[1:])
		}
	}
	if len(lines) == 0 {
		t.Fatalf("README.md prints no command named %q", name)
	}
	return lines
}

func TestTheFilesInTheReadmeAreValid(t *testing.T) {
	files := configFiles(t)
	if len(files) < 2 {
		t.Errorf("README.md prints %d files", len(files))
	}
	for name, text := range files {
		if _, err := config.Parse(name, []byte(text)); err != nil {
			t.Error(err)
		}
	}
}

func TestTheCommandsInTheReadmeAreRightUsage(t *testing.T) {
	var lines [][]string
	for _, name := range []string{"registered", "file", "flags"} {
		lines = append(lines, commands(t, name)...)
	}
	t.Chdir(writeFiles(t, configFiles(t)))
	for _, args := range lines {
		if _, problems := newPlan(t.Context(), args, fakeEnv(nil), t.Output()); len(problems) > 0 {
			t.Errorf("%q: %q", args, problems)
		}
	}
}

func TestTheLinesWithoutConsulInTheReadmeAreRightUsage(t *testing.T) {
	for _, args := range commands(t, "without-consul") {
		if text, problems, code := printedFile(t, args...); code != exitDrained || text == "" {
			t.Errorf("%q: %s", args, problems)
		}
	}
}

func TestTheReadmeListsEveryFlagWithItsDefault(t *testing.T) {
	table := rows(t, "## Flags")
	fs := new(options).flagSet()
	fs.VisitAll(func(f *flag.Flag) {
		row, ok := table["-"+f.Name]
		if !ok {
			t.Errorf("-%s is not in the table", f.Name)
			return
		}
		delete(table, "-"+f.Name)
		want := map[string]string{"false": "off"}[f.DefValue]
		if want == "" {
			want = f.DefValue
		}
		if want != "" && !strings.Contains(row, "| "+want+" |") && !strings.Contains(row, "| `"+want+"` |") {
			t.Errorf("-%s: the default %q is not in %s", f.Name, want, row)
		}
		for _, variable := range regexp.MustCompile(`\bCON(?:SUL|NECT)_\w+`).FindAllString(f.Usage, -1) {
			if !strings.Contains(row, "`"+variable+"`") {
				t.Errorf("-%s: its variable %s is not in %s", f.Name, variable, row)
			}
		}
	})
	for name := range table {
		t.Errorf("the table has %s, which is no flag", name)
	}
}

func TestTheReadmeListsEveryCommand(t *testing.T) {
	table := rows(t, "## Commands")
	all := ""
	for _, row := range table {
		all += row
	}
	for _, s := range subcommands() {
		if !strings.Contains(all, "`"+s.name) {
			t.Errorf("%s is not in the table", s.name)
		}
	}
	for first := range table {
		if name, _, _ := strings.Cut(first, " "); !slices.ContainsFunc(subcommands(), func(s subcommand) bool { return s.name == name }) {
			t.Errorf("the table has %s, which is no command", name)
		}
	}
}

func TestEveryVariableIsInTheReadmeAndTheHelp(t *testing.T) {
	for _, name := range variables {
		if !strings.Contains(readme(t), "`"+name+"`") {
			t.Errorf("%s is not in README.md", name)
		}
		if !strings.Contains(helpText(), name) {
			t.Errorf("%s is not in the help", name)
		}
	}
}

// rows are the rows of the tables below a heading, by the code in their first
// column.
func rows(t *testing.T, heading string) map[string]string {
	t.Helper()
	_, section, ok := strings.Cut(readme(t), "\n"+heading+"\n")
	if !ok {
		t.Fatalf("README.md has no %q", heading)
	}
	section, _, _ = strings.Cut(section, "\n## ")
	found := map[string]string{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([^`]+)`.*$").FindAllStringSubmatch(section, -1) {
		found[m[1]] = m[0]
	}
	return found
}

// writeFiles gives a directory with these files.
func writeFiles(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		write(t, filepath.Join(dir, name), text)
	}
	return dir
}
