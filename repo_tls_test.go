package main

import (
	"go/ast"
	"slices"
	"testing"
)

// tlsFences are what records are protected with, each with the one package of
// the program that may import it: whoever audits TLS reads these two.
var tlsFences = map[string]string{
	"crypto/aes":                           "listener/secure/record",
	"crypto/cipher":                        "listener/secure/record",
	"golang.org/x/crypto/chacha20poly1305": "listener/secure/record",
	"crypto/hkdf":                          "listener/secure",
	"golang.org/x/crypto/cryptobyte":       "listener/secure",
}

func TestCiphersAndSecretsStayInTheirPackages(t *testing.T) {
	seen := map[string]bool{}
	for _, f := range repository(t) {
		if f.test || covers("connectproxy/agenttest/", f.dir) || covers("connectproxy/bench/", f.dir) {
			continue
		}
		for _, imported := range f.imports() {
			where, fenced := tlsFences[imported]
			seen[imported] = true
			if fenced && f.dir != where {
				t.Errorf("%s imports %s, which only package %s may", f.path, imported, where)
			}
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			if id, ok := n.(*ast.Ident); ok && id.Name == "KeyLogWriter" && f.dir != "listener/secure" {
				t.Errorf("%s uses KeyLogWriter: the secrets of connections are package listener/secure's", f.path)
			}
			return true
		})
	}
	for imported, where := range tlsFences {
		if !seen[imported] {
			t.Errorf("%s is imported nowhere: does its fence around %s still stand for something?", imported, where)
		}
	}
}

// pureRecord is all that package record may import: it protects and opens bytes
// that it is given.
var pureRecord = []string{
	"crypto", "crypto/aes", "crypto/cipher", "crypto/sha256", "crypto/sha512", "crypto/tls",
	"encoding/binary", "golang.org/x/crypto/chacha20poly1305",
}

func TestTheRecordPackageDoesNothingButProtectRecords(t *testing.T) {
	for _, f := range repository(t) {
		if f.test || f.dir != "listener/secure/record" {
			continue
		}
		for _, imported := range f.imports() {
			if !slices.Contains(pureRecord, imported) {
				t.Errorf("%s imports %s", f.path, imported)
			}
		}
	}
}
