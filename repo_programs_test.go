package main

import (
	"go/ast"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// namesProgram says for each function that looks for an installed program which of
// its arguments is the name.
var namesProgram = map[string]int{
	"LookPath": 0, "FindProgram": 0, "Program": 1, "RunProgram": 3, "ProgramSays": 4,
	"serveProgram": 2, "runPeer": 1, "runClient": 3,
}

// everywhere are programs of every system that tests run on.
var everywhere = []string{"sh", "sleep"}

// unnamed are the files that look for a program whose name is not theirs to choose.
var unnamed = map[string]string{
	"connectproxy/agenttest/binary.go":    "the C compiler that Go is set to; make test says whether there is one",
	"connectproxy/byname/clients_test.go": "the test's own binary",
}

func TestMakeTestNamesEachProgramThatTestsAreSkippedWithout(t *testing.T) {
	makefile, err := os.ReadFile("Makefile")
	if err != nil {
		t.Fatal(err)
	}
	list := regexp.MustCompile(`@for program in (.*); do`).FindSubmatch(makefile)
	if list == nil {
		t.Fatal("there is no list")
	}
	listed, found := strings.Fields(string(list[1])), map[string]bool{}
	for _, name := range regexp.MustCompile(`command -v ([a-z][\w-]*)`).FindAllSubmatch(makefile, -1) {
		listed = append(listed, string(name[1]))
	}
	for _, f := range repository(t) {
		if !f.test && !covers("connectproxy/agenttest/", f.dir) {
			continue
		}
		for _, s := range searches(f.ast) {
			if len(s.names) == 0 && unnamed[f.path] == "" {
				t.Errorf("%s has %s look for a program whose name is not written there: write it, or add what passes it on to namesProgram", f.path, s.by)
			}
			for _, name := range s.names {
				found[name] = true
				if !slices.Contains(listed, name) && !slices.Contains(everywhere, name) && !strings.Contains(name, "/") {
					t.Errorf("%s looks for %s, which the Makefile's test does not name where it is missing", f.path, name)
				}
			}
		}
	}
	for _, name := range listed {
		if !found[name] {
			t.Errorf("the Makefile's test names %s, which no test looks for", name)
		}
	}
}

func TestMakeTestRunsWithoutTheRaceDetectorWhatItChanges(t *testing.T) {
	makefile, err := os.ReadFile("Makefile")
	if err != nil {
		t.Fatal(err)
	}
	list := regexp.MustCompile(`(?m)^UNRACED := \^\((.*)\)\$\$$`).FindSubmatch(makefile)
	if list == nil {
		t.Fatal("there is no list")
	}
	listed, found := strings.Split(string(list[1]), "|"), 0
	for _, f := range repository(t) {
		var asks string // the function, which may be a helper of tests in its file
		var tests []string
		for _, d := range f.ast.Decls {
			fn, ok := d.(*ast.FuncDecl)
			switch {
			case !ok || !f.test:
			case slices.Contains(listed, fn.Name.Name):
				tests = append(tests, fn.Name.Name)
			case asksForTheRaceDetector(fn):
				asks = fn.Name.Name
			}
		}
		if found += len(tests); asks != "" && (len(tests) == 0 || strings.HasPrefix(asks, "Test")) {
			t.Errorf("%s: %s asks for the race detector, and the Makefile does not run it without", f.path, asks)
		}
	}
	if found != len(listed) {
		t.Errorf("of %q there are %d", listed, found)
	}
}

func asksForTheRaceDetector(fn *ast.FuncDecl) (asks bool) {
	ast.Inspect(fn, func(n ast.Node) bool {
		id, ok := n.(*ast.Ident)
		asks = asks || ok && (id.Name == "raceEnabled" || id.Name == "raceDetector")
		return !asks
	})
	return asks
}

// search is a call of a function of namesProgram.
type search struct {
	by    string
	names []string // none where they are not written in the file
}

// searches are the calls in a file that look for installed programs, other than
// those of functions that are searches themselves.
func searches(file *ast.File) (all []search) {
	for _, d := range file.Decls {
		if fn, ok := d.(*ast.FuncDecl); ok {
			if _, itself := namesProgram[fn.Name.Name]; itself {
				continue
			}
		}
		among := map[string][]string{} // what a variable of a loop goes through
		ast.Inspect(d, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.RangeStmt:
				if each, ok := n.Value.(*ast.Ident); ok {
					among[each.Name] = written(n.X, nil)
				}
			case *ast.CallExpr:
				by := calledName(n)
				if i, ok := namesProgram[by]; ok && i < len(n.Args) {
					all = append(all, search{by, written(n.Args[i], among)})
				}
			}
			return true
		})
	}
	return all
}

func calledName(call *ast.CallExpr) string {
	switch called := call.Fun.(type) {
	case *ast.SelectorExpr:
		return called.Sel.Name
	case *ast.Ident:
		return called.Name
	}
	return ""
}

// written are the texts that an expression can be, as far as they are written there.
func written(e ast.Expr, among map[string][]string) (texts []string) {
	switch e := e.(type) {
	case *ast.BasicLit:
		if text, err := strconv.Unquote(e.Value); err == nil && text != "" {
			return []string{text}
		}
	case *ast.CompositeLit:
		for _, element := range e.Elts {
			texts = append(texts, written(element, nil)...)
		}
	case *ast.Ident:
		return among[e.Name]
	}
	return texts
}
