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
var namesProgram = map[string]int{"LookPath": 0, "Program": 1, "RunProgram": 3, "ProgramSays": 4}

// everywhere are programs of every system that tests run on.
var everywhere = []string{"sh", "sleep"}

func TestMakeTestNamesEachProgramThatTestsAreSkippedWithout(t *testing.T) {
	makefile, err := os.ReadFile("Makefile")
	if err != nil {
		t.Fatal(err)
	}
	list := regexp.MustCompile(`@for program in (.*); do`).FindSubmatch(makefile)
	if list == nil {
		t.Fatal("there is no list")
	}
	listed, found := append(strings.Fields(string(list[1])), everywhere...), 0
	for _, f := range repository(t) {
		if !f.test && !covers("connectproxy/agenttest/", f.dir) {
			continue
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			name := programOf(n)
			if name == "" || strings.Contains(name, "/") {
				return true
			}
			found++
			if !slices.Contains(listed, name) {
				t.Errorf("%s looks for %s, which the Makefile's test does not name where it is missing", f.path, name)
			}
			return true
		})
	}
	if found < 20 {
		t.Errorf("%d such calls were found", found)
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

// programOf is the program that a call looks for, empty where it is none or the name
// is not written there.
func programOf(n ast.Node) string {
	call, ok := n.(*ast.CallExpr)
	if !ok {
		return ""
	}
	called, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return ""
	}
	i, ok := namesProgram[called.Sel.Name]
	if !ok || i >= len(call.Args) {
		return ""
	}
	text, ok := call.Args[i].(*ast.BasicLit)
	if !ok {
		return ""
	}
	name, _ := strconv.Unquote(text.Value)
	return name
}
