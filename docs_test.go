package main

import (
	"go/ast"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// guides are the documents that lead a reader to files and tests by name.
func guides(t *testing.T) map[string]string {
	t.Helper()
	names, err := filepath.Glob("docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	decisions, err := filepath.Glob("docs/decisions/*.md")
	if err != nil {
		t.Fatal(err)
	}
	texts := map[string]string{}
	for _, name := range append(append(names, decisions...), "CONTRIBUTING.md", "README.md", "SECURITY.md") {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		texts[name] = string(text)
	}
	return texts
}

func TestEveryTestNamedInTheDocumentsExists(t *testing.T) {
	tests := map[string]bool{}
	for _, f := range repository(t) {
		for _, d := range f.ast.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && f.test {
				tests[fn.Name.Name] = true
			}
		}
	}
	named := 0
	for doc, text := range guides(t) {
		for _, name := range regexp.MustCompile(`\b(?:Test|Fuzz|Benchmark)[A-Z]\w+`).FindAllString(text, -1) {
			named++
			if !tests[name] {
				t.Errorf("%s names %s, which does not exist", doc, name)
			}
		}
	}
	if named == 0 {
		t.Error("the documents name no test")
	}
}

// inTree is a path in code quotes that begins at the root of the repository.
var inTree = regexp.MustCompile("`((?:config|connectproxy|listener|upstream|docs|testdata|\\.ci|\\.github)/[\\w./-]+)`")

func TestEveryFileThatTheDocumentsNameOrLinkToExists(t *testing.T) {
	for doc, text := range guides(t) {
		for _, m := range inTree.FindAllStringSubmatch(text, -1) {
			if _, err := os.Stat(m[1]); err != nil {
				t.Errorf("%s names %s, which does not exist", doc, m[1])
			}
		}
		for _, m := range regexp.MustCompile(`\]\(([^)#:]+)\)`).FindAllStringSubmatch(text, -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(doc), m[1])); err != nil {
				t.Errorf("%s links to %s, which does not exist", doc, m[1])
			}
		}
	}
	root := regexp.MustCompile("`(\\w+\\.go)`")
	for _, m := range root.FindAllStringSubmatch(guides(t)["CONTRIBUTING.md"], -1) {
		if _, err := os.Stat(m[1]); err != nil && m[1] != "doc.go" {
			t.Errorf("CONTRIBUTING.md names %s, which is not at the root", m[1])
		}
	}
}

func TestEveryDecisionIsInTheIndex(t *testing.T) {
	texts := guides(t)
	index := texts["docs/decisions/README.md"]
	for doc := range texts {
		dir, name := filepath.Split(filepath.ToSlash(doc))
		if dir == "docs/decisions/" && name != "README.md" && !strings.Contains(index, "("+name+")") {
			t.Errorf("%s is not in docs/decisions/README.md", doc)
		}
	}
}
