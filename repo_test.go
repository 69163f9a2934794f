package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const (
	module       = "connect-proxy"
	mostLines    = 300 // of a file: beyond it there is usually a second noun
	consulModule = "github.com/hashicorp/consul"
)

// goFile is one Go file of the repository as it stands, whatever its build tags.
type goFile struct {
	path  string // slash separated, from the root
	dir   string // package path below the module, "" for the root
	test  bool
	lines int
	ast   *ast.File
}

func (f goFile) imports() []string {
	var paths []string
	for _, spec := range f.ast.Imports {
		p, err := strconv.Unquote(spec.Path.Value)
		if err == nil {
			paths = append(paths, p)
		}
	}
	return paths
}

// repository parses every Go file but those below testdata.
func repository(t *testing.T) []goFile {
	t.Helper()
	var files []goFile
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "testdata" || strings.HasPrefix(d.Name(), ".") && name != "."):
			return filepath.SkipDir
		case d.IsDir() || filepath.Ext(name) != ".go":
			return nil
		}
		fset := token.NewFileSet()
		parsed, err := parser.ParseFile(fset, name, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		slashed := filepath.ToSlash(name)
		dir := path.Dir(slashed)
		if dir == "." {
			dir = ""
		}
		files = append(files, goFile{
			path:  slashed,
			dir:   dir,
			test:  strings.HasSuffix(name, "_test.go"),
			lines: fset.File(parsed.Pos()).LineCount(),
			ast:   parsed,
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// star says for each package which of ours it may import. A name that ends in a
// slash stands for itself and everything below it. The first rule that fits a
// package counts.
var star = []struct {
	pkg string
	may []string
}{
	{"upstream/watch", []string{"upstream/backoff"}},
	{"upstream/backoff", nil},
	{"upstream/answer", nil},
	{"upstream/catalog", []string{"upstream", "upstream/answer", "upstream/watch"}},
	{"upstream/etcd/connect-proxy", []string{"config", "connectproxy", "connectproxy/cli", "connectproxy/regularfile", "upstream", "upstream/etcd"}},
	{"upstream/etcd", []string{"upstream", "upstream/backoff"}},
	{"upstream/dns", []string{"upstream", "upstream/backoff"}},
	{"connectproxy/queue", []string{"upstream/backoff"}},
	{"connectproxy/admin", []string{"connectproxy/rebinding", "listener", "upstream/backoff"}},
	{"connectproxy/rebinding", nil},
	{"connectproxy/requestbody", nil},
	{"connectproxy/healthcheck", nil},
	{"connectproxy/logwriter", nil},
	{"connectproxy/events", nil},
	{"connectproxy/metrics", []string{"listener", "listener/relay"}},
	{"connectproxy/statsd", []string{"connectproxy/metrics"}},
	{"connectproxy/adminapi", []string{"connectproxy/admin", "connectproxy/events"}},
	{"connectproxy/accesslog", []string{"config", "listener", "connectproxy/logwriter"}},
	{"connectproxy/mtls", []string{"config", "listener", "listener/secure", "upstream"}},
	{"upstream/loglimit", nil},
	{"connectproxy/byname", []string{"config", "listener/", "connectproxy/dynamic", "connectproxy/rebinding", "connectproxy/requestbody", "upstream/loglimit"}},
	{"connectproxy/dynamic", []string{"config", "listener/"}},
	{"connectproxy/identity", []string{"config", "connectproxy/mtls", "listener", "listener/secure", "upstream", "upstream/backoff", "upstream/watch"}},
	{"connectproxy/static", []string{"config", "connectproxy/allowlist", "connectproxy/authorize", "connectproxy/certfiles", "connectproxy/identity",
		"connectproxy/mtls", "listener", "listener/secure", "upstream"}},
	{"connectproxy/authorize", []string{"listener", "upstream/backoff", "upstream/watch"}},
	{"connectproxy/register", []string{"config", "upstream/backoff", "upstream/watch"}},
	{"connectproxy/agenttest/", []string{"connectproxy/agenttest/", "connectproxy/devagent", "listener/listenertest"}},
	{"connectproxy/devagent", nil},
	{"connectproxy/allowlist", nil},
	{"connectproxy/certfiles", []string{"connectproxy/regularfile"}},
	{"connectproxy/regularfile", nil},
	{"connectproxy/fileowner", nil},
	{"connectproxy/dev", []string{"connectproxy/devagent"}},
	{"connectproxy/bench/", []string{"connectproxy/bench/", "connectproxy/agenttest/"}},
	{"connectproxy/micro/broker", []string{"config", "upstream/loglimit"}},
	{"connectproxy/micro", []string{"config", "upstream/loglimit", "connectproxy/micro/broker", "connectproxy/rebinding", "connectproxy/requestbody", "listener", "listener/secure"}},
	{"connectproxy/edge", []string{"config", "connectproxy/certfiles", "connectproxy/fileowner", "listener", "listener/secure"}},
	{"connectproxy/agent", []string{"config", "connectproxy/queue", "connectproxy/regularfile", "upstream/answer"}},
	{"connectproxy/cli/manpages", []string{"connectproxy/cli"}},
	{"connectproxy/cli", []string{"config", "connectproxy", "connectproxy/admin", "connectproxy/adminapi", "connectproxy/accesslog", "connectproxy/agent",
		"connectproxy/dev", "connectproxy/events", "connectproxy/fileowner", "connectproxy/identity", "connectproxy/logwriter", "connectproxy/metrics", "connectproxy/mtls", "connectproxy/register", "connectproxy/regularfile", "listener/secure", "upstream", "upstream/backoff", "upstream/catalog"}},
	{"connectproxy/", []string{"config", "listener/", "upstream", "upstream/backoff", "upstream/catalog", "upstream/dns", "upstream/watch", "connectproxy/admin", "connectproxy/adminapi",
		"connectproxy/accesslog", "connectproxy/agent", "connectproxy/authorize", "connectproxy/byname", "connectproxy/dynamic", "connectproxy/edge", "connectproxy/events", "connectproxy/healthcheck", "connectproxy/identity", "upstream/loglimit", "connectproxy/metrics", "connectproxy/micro", "connectproxy/micro/broker", "connectproxy/mtls", "connectproxy/register", "connectproxy/static", "connectproxy/statsd"}},
	{"config", []string{"upstream/answer", "upstream/watch", "connectproxy/allowlist", "connectproxy/regularfile"}},
	{"upstream", []string{"upstream/loglimit"}},
	{"listener/listenertest", nil},
	{"listener/secure/record", nil},
	{"listener/", []string{"listener/"}},
	{"", []string{"connectproxy/cli"}},
}

// testsMay is what tests may import on top, wherever they are: the packages made
// for tests, and their own.
var testsMay = []string{"listener/listenertest", "connectproxy/agenttest/", "connectproxy/devagent"}

func covers(pattern, pkg string) bool {
	if below, ok := strings.CutSuffix(pattern, "/"); ok {
		return pkg == below || strings.HasPrefix(pkg, pattern)
	}
	return pkg == pattern
}

func TestPackagesImportEachOtherAlongTheStarOnly(t *testing.T) {
	for _, f := range repository(t) {
		for _, imported := range f.imports() {
			pkg, ours := strings.CutPrefix(imported, module+"/")
			if !ours || f.test && pkg == f.dir {
				continue
			}
			if f.test && (strings.HasSuffix(f.ast.Name.Name, "_test") || slices.ContainsFunc(testsMay, func(p string) bool { return covers(p, pkg) })) {
				continue // a test from outside sees packages as their users do
			}
			for _, rule := range star {
				if !covers(rule.pkg, f.dir) {
					continue
				}
				if !slices.ContainsFunc(rule.may, func(p string) bool { return covers(p, pkg) }) {
					t.Errorf("%s imports %s; package %q may import only %q of ours", f.path, pkg, f.dir, rule.may)
				}
				break
			}
		}
	}
}

// withoutConsul are the packages that would serve any mesh.
var withoutConsul = []string{"upstream", "listener"}

// fences are the heavy imports, each with the one file that may have it: what
// hides behind them can then be replaced in one place.
var fences = []struct{ file, what string }{
	{"connectproxy/identity/spiffe.go", consulModule + "/connect"},
	{"connectproxy/identity/spiffe.go", consulModule + "/agent/connect"},
	{"config/parse.go", "github.com/hashicorp/hcl/v2"},
}

func TestHeavyImportsStayBehindTheirFences(t *testing.T) {
	used := map[string]bool{}
	for _, f := range repository(t) {
		if f.test || f.ast.Name.Name == "main" && f.dir == "" && hasBuildTag(f, "deps") {
			continue
		}
		for _, imported := range f.imports() {
			for _, fence := range fences {
				if !covers(fence.what+"/", imported) {
					continue
				}
				used[fence.what] = true
				if f.path != fence.file {
					t.Errorf("%s imports %s, which only %s may", f.path, imported, fence.file)
				}
			}
			if strings.HasPrefix(imported, consulModule+"/") && slices.Contains(withoutConsul, f.dir) {
				t.Errorf("%s imports %s: package %s is to know nothing of Consul", f.path, imported, f.dir)
			}
			if strings.HasPrefix(imported, consulModule+"/") && !strings.HasPrefix(imported, consulModule+"/api") &&
				f.path != "connectproxy/identity/spiffe.go" {
				t.Errorf("%s imports %s: of Consul itself only its connect package is used", f.path, imported)
			}
		}
	}
	for _, fence := range fences {
		if !used[fence.what] {
			t.Errorf("%s is imported nowhere: does its fence still stand for something?", fence.what)
		}
	}
}

func hasBuildTag(f goFile, tag string) bool {
	for _, group := range f.ast.Comments {
		for _, c := range group.List {
			if c.Text == "//go:build "+tag {
				return true
			}
		}
	}
	return false
}

func TestEachPackageIsExplainedOnceAndInDocGo(t *testing.T) {
	explained := map[string][]string{}
	for _, f := range repository(t) {
		if f.test {
			continue
		}
		if _, ok := explained[f.dir]; !ok {
			explained[f.dir] = nil
		}
		if f.ast.Doc.Text() != "" {
			explained[f.dir] = append(explained[f.dir], f.path)
		}
	}
	for dir, files := range explained {
		if len(files) != 1 {
			t.Errorf("package %q has %d package comments: %q", dir, len(files), files)
			continue
		}
		if base := path.Base(files[0]); base != "doc.go" && base != "main.go" {
			t.Errorf("the comment of package %q is in %s, not in doc.go", dir, files[0])
		}
	}
}

func TestFilesStayReadable(t *testing.T) {
	for _, f := range repository(t) {
		if f.lines > mostLines+1 && !f.test {
			t.Errorf("%s has %d lines, more than %d: is there a second noun in it?", f.path, f.lines, mostLines)
		}
	}
}

func TestErrorsSayWhatWasBeingDone(t *testing.T) {
	for _, f := range repository(t) {
		if f.path == "repo_test.go" {
			continue
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			lit, ok := n.(*ast.BasicLit)
			if ok && lit.Kind == token.STRING && strings.Contains(strings.ToLower(lit.Value), "failed to") {
				t.Errorf("%s: %s: write what was being done, as in \"reading the file: %%w\"", f.path, lit.Value)
			}
			return true
		})
	}
}

// foreign is what only means something on one machine, and what was to be done
// later. The patterns are in pieces so as not to find themselves.
var foreign = []*regexp.Regexp{
	regexp.MustCompile(`/(?:home|root|work|farm)` + `/`),
	regexp.MustCompile(`/tmp/` + `(?:ag|bash)`),
	regexp.MustCompile(`\b(?:TO` + `DO|FIX` + `ME|XX` + `X)\b`),
}

func TestNothingOfOneMachineIsCommitted(t *testing.T) {
	for _, name := range tracked(t) {
		content, err := os.ReadFile(name)
		if err != nil || filepath.Base(name) == "go.sum" || slices.Contains(content, 0) {
			continue // removed but not yet committed, sums, binary
		}
		for i, line := range strings.Split(string(content), "\n") {
			for _, re := range foreign {
				if found := re.FindString(line); found != "" {
					t.Errorf("%s:%d: %q", name, i+1, found)
				}
			}
		}
	}
}

// tracked is what git knows of, or every file where there is no git.
func tracked(t *testing.T) []string {
	t.Helper()
	if out, err := exec.Command("git", "ls-files").Output(); err == nil {
		return strings.Fields(string(out))
	}
	var names []string
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			names = append(names, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func TestPackagesLiveBelowTheFourAndTestdata(t *testing.T) {
	homes := []string{"", "config", "connectproxy", "listener", "upstream"}
	for _, f := range repository(t) {
		if top, _, _ := strings.Cut(f.dir, "/"); !slices.Contains(homes, top) {
			t.Errorf("%s is in a directory of its own; a further package lives below one of %q", f.path, homes[1:])
		}
	}
}

func TestGoModReplacesNothing(t *testing.T) {
	content, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	if regexp.MustCompile(`(?m)^\s*replace\b`).Match(content) {
		t.Error("go.mod has a replace: `go install` would refuse the module")
	}
	if !regexp.MustCompile(`(?m)^module connect-proxy$`).Match(content) {
		t.Error("the module is not called connect-proxy")
	}
}
