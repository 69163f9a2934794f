package main

import (
	"bytes"
	"flag"
	"fmt"
	"go/ast"
	"go/build"
	"go/doc"
	"go/parser"
	"go/printer"
	"go/token"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// public are the packages whose exported names others may use.
var public = []string{"config", "upstream", "upstream/catalog", "listener", "connectproxy"}

// publicTypes are the types of other packages that others may use: the public ones
// take or return them, or they are what a handshake is made by.
var publicTypes = map[string][]string{
	"connectproxy/identity":  {"MeshStatus", "ServerTLS", "Status"},
	"connectproxy/authorize": {"Peers", "Status"},
	"connectproxy/register":  {"Options"},
	"listener/secure":        {"Config", "Conn", "Refusal"},
	"upstream/watch":         {"Freshness"},
}

// notPublic are the types that are seen there and not promised.
var notPublic = []string{
	"connectproxy/accesslog.Log", "connectproxy/adminapi.Level", "connectproxy/agent.Status", "connectproxy/events.History",
	"connectproxy/metrics.Names", "listener/relay.Counters", "listener/relay.Engine", "listener/secure.Detached",
}

func TestThePublicPackagesExportWhatTheirGoldenFilesShow(t *testing.T) {
	for _, pkg := range public {
		t.Run(pkg, func(t *testing.T) {
			golden(t, "surface/"+pkg, surface(t, pkg))
		})
	}
	for pkg, types := range publicTypes {
		t.Run(pkg, func(t *testing.T) {
			golden(t, "surface/"+pkg, surface(t, pkg, types...))
		})
	}
}

// Whoever implements an interface or fills in a struct needs the types in it.
func TestATypeInThePublicPackagesIsPromisedOrSaidNotToBe(t *testing.T) {
	text, err := os.ReadFile("docs/library.md")
	if err != nil {
		t.Fatal(err)
	}
	seen, decided := map[string]bool{}, slices.Clone(notPublic)
	for _, pkg := range public {
		mentioned(t, seen, pkg)
	}
	for pkg, types := range publicTypes {
		mentioned(t, seen, pkg, types...)
		for _, typ := range types {
			decided = append(decided, pkg+"."+typ)
		}
	}
	for _, typ := range decided {
		if !seen[typ] {
			t.Errorf("%s is not seen in a public package", typ)
		}
		if name := "`" + path.Base(typ) + "`"; !strings.Contains(string(text), name) {
			t.Errorf("docs/library.md does not say whether %s is promised", name)
		}
	}
	for typ := range seen {
		if pkg, _, _ := strings.Cut(typ, "."); !slices.Contains(public, pkg) && !slices.Contains(decided, typ) {
			t.Errorf("%s is seen in a public package, and neither promised nor said not to be", typ)
		}
	}
}

// surface is the documentation of a package as it is for Linux, in the order of
// `go doc -all`: what is exported, without bodies and unexported fields; or of
// some of its types alone.
func surface(t *testing.T, dir string, types ...string) string {
	t.Helper()
	pkg, fset, _ := documentation(t, dir)
	w := &surfaceWriter{t: t, fset: fset, pkg: pkg}
	fmt.Fprintf(w, "package %s // import %q\n", pkg.Name, pkg.ImportPath)
	if len(types) == 0 {
		fmt.Fprintf(w, "\n%s", pkg.Text(pkg.Doc))
		w.values("CONSTANTS", pkg.Consts)
		w.values("VARIABLES", pkg.Vars)
		w.heading("FUNCTIONS", len(pkg.Funcs))
		w.funcs(pkg.Funcs)
	}
	w.heading("TYPES", len(pkg.Types))
	for _, typ := range pkg.Types {
		if len(types) > 0 && !slices.Contains(types, typ.Name) {
			continue
		}
		w.decl(typ.Decl, typ.Doc)
		w.values("", typ.Consts)
		w.values("", typ.Vars)
		w.funcs(typ.Funcs)
		w.funcs(typ.Methods)
	}
	return w.String()
}

// documentation reads a package as it is for Linux. Imports are those of this
// module's packages, by their names.
func documentation(t *testing.T, dir string) (pkg *doc.Package, fset *token.FileSet, imports map[string]string) {
	t.Helper()
	platform := build.Default
	platform.GOOS, platform.GOARCH, platform.CgoEnabled = "linux", "amd64", false
	found, err := platform.ImportDir(dir, 0)
	if err != nil {
		t.Fatal(err)
	}
	fset, imports = token.NewFileSet(), map[string]string{}
	var files []*ast.File
	for _, name := range found.GoFiles {
		f, err := parser.ParseFile(fset, filepath.Join(dir, name), nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	for _, imported := range found.Imports {
		if inside, ok := strings.CutPrefix(imported, module+"/"); ok {
			imports[path.Base(inside)] = inside
		}
	}
	pkg, err = doc.NewFromFiles(fset, files, module+"/"+dir)
	if err != nil {
		t.Fatal(err)
	}
	return pkg, fset, imports
}

// mentioned adds to seen the types of this module, as directory and name, in what a
// package exports, or in some of its types alone.
func mentioned(t *testing.T, seen map[string]bool, dir string, types ...string) {
	t.Helper()
	pkg, _, imports := documentation(t, dir)
	own := map[string]bool{}
	for _, typ := range pkg.Types {
		own[typ.Name] = true
	}
	note := func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.BlockStmt:
			return false
		case *ast.SelectorExpr:
			if name, ok := n.X.(*ast.Ident); ok && imports[name.Name] != "" {
				seen[imports[name.Name]+"."+n.Sel.Name] = true
			}
			return false
		case *ast.Ident:
			if own[n.Name] {
				seen[dir+"."+n.Name] = true
			}
		}
		return true
	}
	inspect := func(funcs []*doc.Func) {
		for _, f := range funcs {
			ast.Inspect(f.Decl, note)
		}
	}
	for _, typ := range pkg.Types {
		if len(types) > 0 && !slices.Contains(types, typ.Name) {
			continue
		}
		ast.Inspect(typ.Decl, note)
		inspect(typ.Funcs)
		inspect(typ.Methods)
	}
	if len(types) == 0 {
		inspect(pkg.Funcs)
	}
}

// surfaceWriter puts declarations and their comments below one another.
type surfaceWriter struct {
	bytes.Buffer
	t    *testing.T
	fset *token.FileSet
	pkg  *doc.Package
}

func (w *surfaceWriter) heading(title string, n int) {
	if n > 0 && title != "" {
		fmt.Fprintf(w, "\n%s\n", title)
	}
}

func (w *surfaceWriter) values(title string, values []*doc.Value) {
	w.heading(title, len(values))
	for _, v := range values {
		w.decl(v.Decl, v.Doc)
	}
}

func (w *surfaceWriter) funcs(funcs []*doc.Func) {
	for _, f := range funcs {
		f.Decl.Body = nil
		w.decl(f.Decl, f.Doc)
	}
}

// decl writes a declaration as gofmt would, and below it what its comment says.
func (w *surfaceWriter) decl(d ast.Decl, comment string) {
	w.t.Helper()
	fmt.Fprintln(w)
	gofmt := printer.Config{Mode: printer.UseSpaces | printer.TabIndent, Tabwidth: 8}
	if err := gofmt.Fprint(w, w.fset, d); err != nil {
		w.t.Fatal(err)
	}
	fmt.Fprintln(w)
	for line := range strings.Lines(string(w.pkg.Text(comment))) {
		if line != "\n" {
			line = "    " + line
		}
		fmt.Fprint(w, line)
	}
}

func TestTheProgramIsBuiltOfTheModulesInTheGoldenFile(t *testing.T) {
	golden(t, "surface/dependencies", strings.Join(dependencies(t), "\n")+"\n")
}

// dependencies are the modules that have a package in the program for Linux.
// Their versions are go.mod's to hold.
func dependencies(t *testing.T) []string {
	t.Helper()
	list := exec.CommandContext(t.Context(), "go", "list", "-deps", "-f", "{{with .Module}}{{.Path}}{{end}}", ".")
	list.Env = append(os.Environ(), "GOOS=linux", "GOARCH=amd64", "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off")
	var stderr bytes.Buffer
	list.Stderr = &stderr
	out, err := list.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, &stderr)
	}
	modules := strings.Fields(string(out))
	slices.Sort(modules)
	modules = slices.Compact(modules)
	if !slices.Contains(modules, module) {
		t.Fatalf("go list names %q, and not the program's own module", modules)
	}
	return modules
}

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares with testdata/<name>.golden, which -update writes.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s is out of date; go test -run %s . -update writes it anew. Got:\n%s", file, t.Name(), got)
	}
}
