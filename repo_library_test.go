package main

import (
	"go/ast"
	"slices"
	"testing"
)

// programs are what only a program of ours may have: it owns the process, which a
// library does not.
var programs = []string{"", "connectproxy/cli/", "connectproxy/dev", "connectproxy/bench/", "connectproxy/agenttest/", "upstream/etcd/connect-proxy", "listener/listenertest"}

// processWide are the names that reach beyond what a caller has handed over.
var processWide = map[string][]string{
	"os":      {"Exit", "Stdout", "Stderr", "Stdin", "Args", "Setenv", "Unsetenv", "Chdir"},
	"log":     {"SetOutput", "SetFlags", "Print", "Printf", "Println", "Fatal", "Fatalf"},
	"fmt":     {"Print", "Printf", "Println"},
	"http":    {"Handle", "HandleFunc"},
	"debug":   {"SetGCPercent", "SetMemoryLimit", "SetMaxThreads"},
	"syscall": {"Setrlimit"},
	"hclog":   {"SetDefault", "Default", "L"},
}

func TestTheLibraryLeavesTheProcessAlone(t *testing.T) {
	for _, f := range repository(t) {
		if f.test || slices.ContainsFunc(programs, func(p string) bool { return covers(p, f.dir) }) {
			continue
		}
		for _, imported := range f.imports() {
			if slices.Contains([]string{"os/signal", "flag", "expvar"}, imported) {
				t.Errorf("%s imports %s: that is the program's to do", f.path, imported)
			}
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				if n.Recv == nil && n.Name.Name == "init" {
					t.Errorf("%s has an init function: nothing starts by itself", f.path)
				}
			case *ast.SelectorExpr:
				if pkg, ok := n.X.(*ast.Ident); ok && pkg.Obj == nil && slices.Contains(processWide[pkg.Name], n.Sel.Name) {
					t.Errorf("%s uses %s.%s, which belongs to the process and not to a library", f.path, pkg.Name, n.Sel.Name)
				}
			}
			return true
		})
	}
}
