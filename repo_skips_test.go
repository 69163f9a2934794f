package main

import (
	"go/ast"
	"go/token"
	"strings"
	"testing"
)

// A test that is skipped for whatever went wrong hides what is broken, and nobody is
// told what to install or to raise.
func TestNoTestIsSkippedForAnyErrorAtAll(t *testing.T) {
	found := 0
	for _, f := range repository(t) {
		ast.Inspect(f.ast, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CallExpr:
				if !skips(n) {
					break
				}
				found++
				if len(n.Args) == 0 || !saysSomething(n.Args[0]) {
					t.Errorf("%s has a test skipped without a reason that is written there", f.path)
				}
			case *ast.IfStmt:
				if isAnyError(n.Cond) && skipsNext(n.Body) {
					t.Errorf("%s has a test skipped for any error: name the one, and have others fail", f.path)
				}
			}
			return true
		})
	}
	if found < 40 {
		t.Errorf("%d tests were found that can be skipped", found)
	}
}

// skipsNext reports whether a block skips by itself, and not under a further condition.
func skipsNext(block *ast.BlockStmt) bool {
	for _, s := range block.List {
		if s, ok := s.(*ast.ExprStmt); ok {
			if call, ok := s.X.(*ast.CallExpr); ok && skips(call) {
				return true
			}
		}
	}
	return false
}

// skips reports whether a call skips a test. A parser's Skip takes a number.
func skips(call *ast.CallExpr) bool {
	called, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	switch called.Sel.Name {
	case "Skipf", "SkipNow":
		return true
	case "Skip":
		if len(call.Args) != 1 {
			return true
		}
		number, ok := call.Args[0].(*ast.BasicLit)
		return !ok || number.Kind == token.STRING
	}
	return false
}

// saysSomething reports whether there is text in an expression.
func saysSomething(e ast.Expr) (says bool) {
	ast.Inspect(e, func(n ast.Node) bool {
		text, ok := n.(*ast.BasicLit)
		says = says || ok && text.Kind == token.STRING
		return !says
	})
	return says
}

// isAnyError reports whether a condition is met by every error, such as err != nil.
func isAnyError(cond ast.Expr) bool {
	switch c := cond.(type) {
	case *ast.ParenExpr:
		return isAnyError(c.X)
	case *ast.BinaryExpr:
		if c.Op == token.LOR {
			return isAnyError(c.X) || isAnyError(c.Y)
		}
		right, ok := c.Y.(*ast.Ident)
		return c.Op == token.NEQ && ok && right.Name == "nil" && namesError(c.X)
	}
	return false
}

func namesError(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.SelectorExpr:
		return namesError(e.Sel)
	case *ast.Ident:
		return strings.HasSuffix(strings.ToLower(e.Name), "err")
	}
	return false
}
